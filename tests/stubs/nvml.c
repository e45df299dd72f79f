/* libnvidia-ml.so.1 without a GPU: what its clients ask, answered from a scenario (scenario.h).
 *
 * Layouts and codes are those of nvml.h, which nvidia-ml-py repeats. The scenario is read at the
 * first init and again once every init was shut down. Keys of the library:
 *   driver, nvml     their versions
 *   FUNCTION CODE    that function fails with that code: "set nvmlInitWithFlags 9" is no driver
 * Keys of a device:
 *   FUNCTION CODE    likewise, for that device: "dev 0 nvmlDeviceGetTotalEccErrors 3"
 *   field_N CODE     field N of nvmlDeviceGetFieldValues fails with that code
 *   name, uuid, bus, numa_node, c2c, architecture
 *   memory_mib, reserved_mib, cap_w, module_cap_w
 *   capability_major, capability_minor   of CUDA
 *   scopes           whose power it tells: "gpu", "module" or "gpu module"
 *   power_type       nvmlValueType_t of the power fields: 1 or, in the same bytes, 3
 *   gpu_share        scope gpu gives this share of the power; the counter counts all of it
 *   processes        "PID=BYTES ..."; PID may be "self", BYTES "used" or "unknown"; or "none"
 *   clock_mhz, memory_clock_mhz, max_clock_mhz, max_memory_clock_mhz, temperature_c, ecc
 *   mig_of, mig_index   it is that slice of that device, and not a GPU
 *   mig              1: it is in MIG mode, whether it has slices or not
 */
#include "scenario.h"

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
       INSUFFICIENT_SIZE = 7, LOST = 15, VERSION_MISMATCH = 25 };
enum { FIELD_TOTAL_ENERGY = 83, FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186,
       FIELD_POWER_LIMIT = 190, FIELD_ENERGY = 191 };
enum { SCOPE_GPU = 0, SCOPE_MODULE = 1, VALUE_UINT = 1, VALUE_ULONGLONG = 3, MOST_SLICES = 7 };
typedef unsigned long long u64;
typedef struct device { int index; } *device_t;

static struct device DEVICES[MOST_DEVICES];
static int INITS;

static int fault(int device, const char *function) { return (int)number_of(device, function, OK); }
static int gpu_of(device_t device) { return (int)number_of(device->index, "mig_of", device->index); }
static int is_slice(int index) { return text_of(index, "mig_of", NULL) != NULL; }

static int entered(device_t device, const char *function) {
  if (!INITS) return UNINITIALIZED;
  if (device < DEVICES || device >= DEVICES + device_count()) return INVALID_ARGUMENT;
  if (is_lost(gpu_of(device))) return LOST;
  return fault(device->index, function);
}

#define ENTER(device) do { int code = entered(device, __func__); if (code) return code; } while (0)
#define GETTER(name, type, expression) EXPORT int name(device_t device, type *value) { \
    ENTER(device); *value = (type)(expression); return OK; }
#define ENTER_LIBRARY() do { \
    int code = INITS ? fault(NEVER, __func__) : UNINITIALIZED; if (code) return code; } while (0)

static int put(const char *text, char *buffer, unsigned length) {
  return snprintf(buffer, length, "%s", text) < (int)length ? OK : INSUFFICIENT_SIZE;
}

static u64 bytes_of(device_t device, const char *key, double fallback_mib) {
  return (u64)number_of(device->index, key, fallback_mib) << 20;
}

static u64 used_bytes(device_t device) { return (u64)step_at(device->index, now_s())->used_bytes; }
static unsigned milli(double value) { return (unsigned)(value * 1e3 + 0.5); }

/* The library. */
EXPORT int nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  if (!INITS) read_scenario();
  for (int i = 0; i < MOST_DEVICES; i++) DEVICES[i].index = i;
  int code = fault(NEVER, __func__);
  if (!code) INITS++;
  return code;
}
EXPORT int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
EXPORT int nvmlInit(void) { return nvmlInitWithFlags(0); }
EXPORT int nvmlShutdown(void) { ENTER_LIBRARY(); INITS--; return OK; }
EXPORT const char *nvmlErrorString(int code) { (void)code; return "a code of the stub"; }
EXPORT int nvmlSystemGetDriverVersion(char *text, unsigned length) {
  ENTER_LIBRARY();
  return put(setting("driver", "580.65.06"), text, length);
}
EXPORT int nvmlSystemGetNVMLVersion(char *text, unsigned length) {
  ENTER_LIBRARY();
  return put(setting("nvml", "13.580.65.06"), text, length);
}
EXPORT int nvmlDeviceGetCount_v2(unsigned *count) {
  ENTER_LIBRARY();
  *count = 0;
  for (int i = 0; i < device_count(); i++) *count += !is_slice(i);
  return OK;
}
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device) {
  ENTER_LIBRARY();
  for (int i = 0; i < device_count(); i++)
    if (!is_slice(i) && !index--) { ENTER(&DEVICES[i]); *device = &DEVICES[i]; return OK; }
  return INVALID_ARGUMENT;
}

/* Who a device is. */
EXPORT int nvmlDeviceGetName(device_t device, char *text, unsigned length) {
  ENTER(device);
  return put(text_of(device->index, "name", "NVIDIA stub"), text, length);
}
EXPORT int nvmlDeviceGetUUID(device_t device, char *text, unsigned length) {
  ENTER(device);
  char made[48];
  snprintf(made, sizeof made, "GPU-%08d-0000-0000-0000-000000000000", device->index);
  return put(text_of(device->index, "uuid", made), text, length);
}
EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, device_t *device) {
  ENTER_LIBRARY();
  for (int i = 0; i < device_count(); i++)
    if (!strcmp(text_of(i, "uuid", ""), uuid)) { *device = &DEVICES[i]; return OK; }
  return NOT_FOUND;
}
struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
EXPORT int nvmlDeviceGetPciInfo_v3(device_t device, struct pci *pci) {
  ENTER(device);
  memset(pci, 0, sizeof *pci);
  snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", 0x10 + device->index);
  put(text_of(device->index, "bus", pci->bus_id), pci->bus_id, sizeof pci->bus_id);
  sscanf(pci->bus_id, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
  snprintf(pci->legacy, sizeof pci->legacy, "%04X:%02X:%02X.0", pci->domain & 0xffff,
           pci->bus & 0xff, pci->device & 0xff);
  return OK;
}
GETTER(nvmlDeviceGetArchitecture, unsigned, number_of(device->index, "architecture", 9))
EXPORT int nvmlDeviceGetCudaComputeCapability(device_t device, int *major, int *minor) {
  ENTER(device);
  *major = (int)number_of(device->index, "capability_major", 9);
  *minor = (int)number_of(device->index, "capability_minor", 0);
  return OK;
}
EXPORT int nvmlDeviceGetC2cModeInfoV(device_t device, unsigned *enabled) {
  ENTER(device);
  if (!text_of(device->index, "c2c", NULL)) return NOT_SUPPORTED;
  *enabled = (unsigned)number_of(device->index, "c2c", 0);
  return OK;
}
EXPORT int nvmlDeviceGetMemoryAffinity(device_t device, unsigned size, unsigned long *nodes,
                                        unsigned scope) {
  ENTER(device);
  (void)scope;
  memset(nodes, 0, size * sizeof *nodes);
  nodes[0] = 1ul << (int)number_of(device->index, "numa_node", 0);
  return OK;
}
EXPORT int nvmlDeviceGetMigMode(device_t device, unsigned *current, unsigned *pending) {
  ENTER(device);
  *current = (unsigned)number_of(device->index, "mig", 0);
  for (int i = 0; i < device_count(); i++)
    if (is_slice(i) && gpu_of(&DEVICES[i]) == device->index) *current = 1;
  *pending = *current;
  return OK;
}
GETTER(nvmlDeviceGetMaxMigDeviceCount, unsigned, MOST_SLICES)
EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(device_t device, unsigned index, device_t *slice) {
  ENTER(device);
  for (int i = 0; i < device_count(); i++)
    if (is_slice(i) && gpu_of(&DEVICES[i]) == device->index && number_of(i, "mig_index", 0) == index) {
      *slice = &DEVICES[i];
      return OK;
    }
  return NOT_FOUND;
}

/* Memory. */
struct memory { u64 total, free, used; };
struct memory_v2 { unsigned version; u64 total, reserved, free, used; };
EXPORT int nvmlDeviceGetMemoryInfo_v2(device_t device, struct memory_v2 *memory) {
  ENTER(device);
  if (memory->version != (sizeof *memory | 2u << 24)) return VERSION_MISMATCH;
  memory->total = bytes_of(device, "memory_mib", 81559);
  memory->reserved = bytes_of(device, "reserved_mib", 530);
  memory->used = used_bytes(device);
  memory->free = memory->total - memory->reserved - memory->used;
  return OK;
}
/* The first version counts what is reserved as used. */
EXPORT int nvmlDeviceGetMemoryInfo(device_t device, struct memory *memory) {
  ENTER(device);
  memory->total = bytes_of(device, "memory_mib", 81559);
  memory->used = used_bytes(device) + bytes_of(device, "reserved_mib", 530);
  memory->free = memory->total - memory->used;
  return OK;
}
struct process { unsigned pid; u64 used; unsigned gpu_instance, compute_instance; };
static int list_processes(device_t device, unsigned *count, struct process *processes) {
  const char *text = text_of(device->index, "processes", "self=used");
  char pid[16], bytes[24];
  unsigned found = 0;
  for (int length; sscanf(text, " %15[^=]=%23s%n", pid, bytes, &length) == 2; text += length, found++) {
    if (!processes || found >= *count) continue;
    processes[found].pid = strcmp(pid, "self") ? (unsigned)atoi(pid) : (unsigned)getpid();
    processes[found].used = !strcmp(bytes, "used")      ? used_bytes(device)
                            : !strcmp(bytes, "unknown") ? ~0ull
                                                        : strtoull(bytes, NULL, 10);
    processes[found].gpu_instance = processes[found].compute_instance = ~0u;
  }
  int fits = found <= *count;
  *count = found;
  return fits ? OK : INSUFFICIENT_SIZE;
}
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(device_t device, unsigned *count,
                                                    struct process *processes) {
  ENTER(device);
  return list_processes(device, count, processes);
}
EXPORT int nvmlDeviceGetComputeRunningProcesses_v2(device_t device, unsigned *count,
                                                    struct process *processes) {
  ENTER(device);
  return list_processes(device, count, processes);
}

/* Power and energy. A slice's handle answers with its GPU's, as NVML's does. */
static int tells_scope(int gpu, unsigned scope) {
  const char *scopes = text_of(gpu, "scopes", "gpu");
  return scope <= SCOPE_MODULE && strstr(scopes, scope == SCOPE_MODULE ? "module" : "gpu") != NULL;
}
static double share_of(int gpu, unsigned scope) {
  return scope == SCOPE_GPU ? number_of(gpu, "gpu_share", 1) : 1;
}
/* The mean over the second that ends at the sensor's last refresh. */
static double average_w(int gpu) {
  double t = refreshed(now_s(), number_of(gpu, "power_update_s", 0.1));
  return used_joules(gpu, t) - used_joules(gpu, t - 1);
}
static double cap_w(int gpu, unsigned scope) {
  return scope == SCOPE_MODULE ? number_of(gpu, "module_cap_w", 1000) : number_of(gpu, "cap_w", 700);
}
struct field { unsigned id, scope; int64_t timestamp_us, latency_us; int type, result;
               union { unsigned uint; u64 ulonglong; } value; };
static int fill_field(int gpu, struct field *field) {
  char key[24];
  snprintf(key, sizeof key, "field_%u", field->id);
  int code = fault(gpu, key);
  if (code) return code;
  field->timestamp_us = (int64_t)(now_s() * 1e6);
  if (field->id == FIELD_TOTAL_ENERGY || field->id == FIELD_ENERGY) {
    field->type = VALUE_ULONGLONG;
    field->value.ulonglong = (u64)(counter_j(gpu) * 1e3 + 0.5);
    return OK;
  }
  if (!tells_scope(gpu, field->scope)) return NOT_SUPPORTED;
  double share = share_of(gpu, field->scope);
  field->type = (int)number_of(gpu, "power_type", VALUE_UINT);
  switch (field->id) {
    case FIELD_POWER_INSTANT: field->value.uint = milli(share * sensor_w(gpu)); return OK;
    case FIELD_POWER_AVERAGE: field->value.uint = milli(share * average_w(gpu)); return OK;
    case FIELD_POWER_LIMIT: field->value.uint = milli(cap_w(gpu, field->scope)); return OK;
    default: return NOT_SUPPORTED;
  }
}
EXPORT int nvmlDeviceGetFieldValues(device_t device, int count, struct field *fields) {
  ENTER(device);
  for (int i = 0; i < count; i++) fields[i].result = fill_field(gpu_of(device), &fields[i]);
  return OK;
}
GETTER(nvmlDeviceGetTotalEnergyConsumption, u64, counter_j(gpu_of(device)) * 1e3 + 0.5)
GETTER(nvmlDeviceGetPowerUsage, unsigned, milli(share_of(gpu_of(device), SCOPE_GPU) * average_w(gpu_of(device))))
GETTER(nvmlDeviceGetEnforcedPowerLimit, unsigned, milli(cap_w(gpu_of(device), SCOPE_GPU)))
GETTER(nvmlDeviceGetPowerManagementLimit, unsigned, milli(cap_w(gpu_of(device), SCOPE_GPU)))
GETTER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, milli(cap_w(gpu_of(device), SCOPE_GPU)))
GETTER(nvmlDeviceGetPersistenceMode, unsigned, 1)
EXPORT int nvmlDeviceGetPowerManagementLimitConstraints(device_t device, unsigned *least, unsigned *most) {
  ENTER(device);
  *least = milli(100);
  *most = milli(cap_w(gpu_of(device), SCOPE_GPU));
  return OK;
}

/* Clocks, heat, errors. */
enum { CLOCK_MEMORY = 2 };
#define CLOCK(name, memory_key, memory_mhz, key, sm_mhz) \
  EXPORT int name(device_t device, unsigned type, unsigned *mhz) { \
    ENTER(device); \
    *mhz = (unsigned)(type == CLOCK_MEMORY ? number_of(device->index, memory_key, memory_mhz) \
                                           : number_of(device->index, key, sm_mhz)); \
    return OK; }
CLOCK(nvmlDeviceGetClockInfo, "memory_clock_mhz", 2619, "clock_mhz", 1755)
CLOCK(nvmlDeviceGetMaxClockInfo, "max_memory_clock_mhz", 2619, "max_clock_mhz", 1980)
struct temperature { unsigned version, sensor; int celsius; };
EXPORT int nvmlDeviceGetTemperatureV(device_t device, struct temperature *temperature) {
  ENTER(device);
  if (temperature->version != (sizeof *temperature | 1u << 24)) return VERSION_MISMATCH;
  temperature->celsius = (int)number_of(device->index, "temperature_c", 55);
  return OK;
}
EXPORT int nvmlDeviceGetTemperature(device_t device, unsigned sensor, unsigned *celsius) {
  ENTER(device);
  (void)sensor;
  *celsius = (unsigned)number_of(device->index, "temperature_c", 55);
  return OK;
}
GETTER(nvmlDeviceGetCurrentClocksEventReasons, u64, step_at(gpu_of(device), now_s())->throttles)
GETTER(nvmlDeviceGetCurrentClocksThrottleReasons, u64, step_at(gpu_of(device), now_s())->throttles)
/* Only uncorrected errors since the driver was loaded are counted. */
EXPORT int nvmlDeviceGetTotalEccErrors(device_t device, unsigned kind, unsigned since, u64 *count) {
  ENTER(device);
  *count = kind == 1 && since == 0 ? (u64)number_of(device->index, "ecc", 0) : 0;
  return OK;
}
