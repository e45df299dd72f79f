/* libamd_smi.so without a GPU: what alignmeter and its peers ask of AMD SMI, from a scenario.
 *
 * Structs are laid out as amdsmi_wrapper.py of the package amdsmi 7.0.2 declares them, which is AMD SMI
 * 26.0; with -DSMI=27 as amdsmi.h of AMD SMI 27.0.0 does (ROCm 10.0; rocm-systems, commit c7ad0851).
 * The package binds some 180 symbols when it is imported; those that are not here are generated
 * (tests/bench/amd_stub.py) and say NOT_SUPPORTED.
 *
 * Keys, beside those of scenario.h: "set lib_version 26.0.2", "set init_error CODE"; of a device
 *   name, bdf, hip_uuid, hip_id, kfd_node, device_id, oam_id, driver, memory_bytes, power_cap_w, pid,
 *   process_bytes, temperature_c, clock_mhz, max_clock_mhz, memory_clock_mhz, max_memory_clock_mhz,
 *   ecc_errors
 *   partition, memory_partition   e.g. CPX and NPS4
 *   profile         none: the library has no accelerator profile of it, as of those before MI300
 *   processes, hidden_processes   how many there are; 1 if the user may not see others besides
 *   socket          devices with the same number are partitions of one socket
 *   meter           whose trace its power and energy are: partitions repeat their socket's
 *   power           current (MI300 on), average (MI200), zero (the second die of an MI250) or na
 *   power_reads     what the sensor says instead, in W
 *   energy          zero: the counter of the second die
 *   energy_unit_uj, counter_resolution_uj   the counter's unit and the one that the library reports
 *   throttle        residency (MI300 on), bits (MI200) or none
 *   error_FIGURE    the status with which that figure is refused: power, energy, memory, process, clock,
 *                   temperature, ecc, metrics, cap, enumeration, partition, asic
 *   error_all       the same for every figure
 * THROTTLE_BITS of a step are those of the kernel's amdgpu_smu.h, SMU_THROTTLER_*.
 */
#include "scenario.h"

#ifndef SMI
#define SMI 26
#endif
#define VERSION (SMI == 26 ? "26.0.2" : "27.0.0")

enum { SUCCESS = 0, INVAL = 1, NOT_SUPPORTED = 2, NO_PERM = 10, FILE_ERROR = 14, OUT_OF_RESOURCES = 15, NOT_INIT = 32 };
enum { CLOCK_GFX = 0, CLOCK_MEM = 4, TEMPERATURE_HOTSPOT = 1, MEMORY_VRAM = 0 };
enum { NOT_AVAILABLE = 0xFFFF };

/* A handle is the address of its device's cell; a socket's is that of its first device. */
static char CELLS[MOST_DEVICES];
static int READY;

static int index_of(const void *handle) { return (int)((const char *)handle - CELLS); }
static int whole(int device, const char *key, double fallback) { return (int)number_of(device, key, fallback); }
static int meter_of(int device) { return whole(device, "meter", device); }
static int says(int device, const char *key, const char *value, const char *fallback) {
  return !strcmp(text_of(device, key, fallback), value);
}

/* Why a figure is refused, or SUCCESS. */
static int refusal(const void *handle, const char *figure) {
  char key[40];
  int device = index_of(handle);
  if (!READY) return NOT_INIT;
  if (device < 0 || device >= device_count()) return INVAL;
  if (is_lost(device)) return FILE_ERROR; /* sysfs files of a device that fell off the bus are gone */
  snprintf(key, sizeof key, "error_%s", figure);
  return whole(device, key, number_of(device, "error_all", SUCCESS));
}

#define REFUSE(handle, figure)                \
  do {                                        \
    int status = refusal(handle, figure);     \
    if (status) return status;                \
  } while (0)

EXPORT int amdsmi_init(uint64_t flags) {
  (void)flags;
  read_scenario();
  int status = (int)strtol(setting("init_error", "0"), NULL, 10);
  READY = !status;
  return status;
}

EXPORT int amdsmi_shut_down(void) { READY = 0; return SUCCESS; }

struct version { uint32_t major, minor, release, padding; const char *build; };
EXPORT int amdsmi_get_lib_version(struct version *version) {
  const char *text = setting("lib_version", VERSION);
  if (sscanf(text, "%u.%u.%u", &version->major, &version->minor, &version->release) != 3) return INVAL;
  version->build = text;
  return SUCCESS;
}

/* Devices, in AMD SMI's order: sockets, and their processors. */

static int is_first_of_socket(int device) {
  for (int i = 0; i < device; i++)
    if (whole(i, "socket", i) == whole(device, "socket", device)) return 0;
  return 1;
}

EXPORT int amdsmi_get_socket_handles(uint32_t *count, void **handles) {
  if (!READY) return NOT_INIT;
  *count = 0;
  for (int i = 0; i < device_count(); i++) {
    if (!is_first_of_socket(i)) continue;
    if (handles) handles[*count] = &CELLS[i];
    ++*count;
  }
  return SUCCESS;
}

EXPORT int amdsmi_get_processor_handles(void *socket, uint32_t *count, void **handles) {
  int first = index_of(socket);
  if (!READY) return NOT_INIT;
  *count = 0;
  for (int i = first; i < device_count(); i++) {
    if (whole(i, "socket", i) != whole(first, "socket", first)) continue;
    if (handles) handles[*count] = &CELLS[i];
    ++*count;
  }
  return SUCCESS;
}

/* Who a device is. */

EXPORT int amdsmi_get_gpu_device_bdf(void *handle, uint64_t *packed) {
  unsigned domain, bus, device, function;
  char fallback[16];
  REFUSE(handle, "bdf");
  snprintf(fallback, sizeof fallback, "0000:%02x:00.0", 0x10 + 0x10 * index_of(handle));
  const char *bdf = text_of(index_of(handle), "bdf", fallback);
  if (sscanf(bdf, "%x:%x:%x.%x", &domain, &bus, &device, &function) != 4) return INVAL;
  *packed = ((uint64_t)domain << 16) | bus << 8 | device << 3 | function;
  return SUCCESS;
}

struct asic {
  char market_name[256]; uint32_t vendor_id; char vendor_name[256]; uint32_t subvendor_id; uint64_t device_id;
  uint32_t rev_id; char serial[256]; uint32_t oam_id, compute_units, padding; uint64_t graphics_version;
  uint32_t subsystem_id;
#if SMI == 26
  uint32_t reserved[21];
#else
  uint32_t padding_1; uint64_t flags; uint32_t reserved[18];
#endif
} __attribute__((packed));
_Static_assert(sizeof(struct asic) == 896, "27 took flags from what was reserved");
EXPORT int amdsmi_get_gpu_asic_info(void *handle, struct asic *asic) {
  int device = index_of(handle);
  REFUSE(handle, "asic");
  memset(asic, 0, sizeof *asic);
  snprintf(asic->market_name, sizeof asic->market_name, "%s", text_of(device, "name", "AMD Instinct MI300X"));
  asic->vendor_id = 0x1002;
  snprintf(asic->vendor_name, sizeof asic->vendor_name, "Advanced Micro Devices Inc. [AMD/ATI]");
  asic->device_id = strtoull(text_of(device, "device_id", "0x74a1"), NULL, 16);
  snprintf(asic->serial, sizeof asic->serial, "0x%016X", device + 1);
  asic->oam_id = (uint32_t)number_of(device, "oam_id", 4294967295.0);
  return SUCCESS;
}

struct driver { char version[256], date[256], name[256]; };
EXPORT int amdsmi_get_gpu_driver_info(void *handle, struct driver *driver) {
  REFUSE(handle, "driver");
  memset(driver, 0, sizeof *driver);
  snprintf(driver->version, sizeof driver->version, "%s", text_of(index_of(handle), "driver", "6.14.14"));
  snprintf(driver->name, sizeof driver->name, "amdgpu");
  return SUCCESS;
}

struct enumeration {
  uint32_t render, card, hsa_id, hip_id; char hip_uuid[256];
#if SMI == 27
  uint32_t oam_id;
#endif
};
EXPORT int amdsmi_get_gpu_enumeration_info(void *handle, struct enumeration *found) {
  char fallback[32];
  int device = index_of(handle);
  REFUSE(handle, "enumeration");
  memset(found, 0, sizeof *found);
  found->render = 128 + device;
  found->card = device;
  found->hip_id = whole(device, "hip_id", device);
  found->hsa_id = found->hip_id + 1;
  snprintf(fallback, sizeof fallback, "GPU-%016x", device + 1);
  snprintf(found->hip_uuid, sizeof found->hip_uuid, "%s", text_of(device, "hip_uuid", fallback));
  return SUCCESS;
}

struct kfd { uint64_t kfd_id; uint32_t node_id, partition_id, reserved[12]; };
EXPORT int amdsmi_get_gpu_kfd_info(void *handle, struct kfd *kfd) {
  int device = index_of(handle);
  REFUSE(handle, "kfd");
  memset(kfd, 0, sizeof *kfd);
  kfd->node_id = whole(device, "kfd_node", device + 1);
  return SUCCESS;
}

/* The place of a mode's name is its number: amdsmi_accelerator_partition_type_t. */
static const char *MODES[] = {"INVALID", "SPX", "DPX", "TPX", "QPX", "CPX"};
struct profile {
  uint32_t type, partitions, memory_caps, index, resource_count, resources[8][32]; uint64_t reserved[13];
};
EXPORT int amdsmi_get_gpu_accelerator_partition_profile(void *handle, struct profile *profile, uint32_t *id) {
  int device = index_of(handle);
  REFUSE(handle, "partition");
  if (says(device, "profile", "none", "some")) return NOT_SUPPORTED;
  memset(profile, 0, sizeof *profile);
  for (uint32_t i = 0; i < sizeof MODES / sizeof *MODES; i++)
    if (says(device, "partition", MODES[i], "SPX")) profile->type = i;
  *id = 0;
  return SUCCESS;
}

EXPORT int amdsmi_get_gpu_compute_partition(void *handle, char *text, uint32_t length) {
  REFUSE(handle, "partition");
  snprintf(text, length, "%s", text_of(index_of(handle), "partition", "SPX"));
  return SUCCESS;
}

EXPORT int amdsmi_get_gpu_memory_partition(void *handle, char *text, uint32_t length) {
  REFUSE(handle, "partition");
  snprintf(text, length, "%s", text_of(index_of(handle), "memory_partition", "NPS1"));
  return SUCCESS;
}

struct cap { uint64_t cap_uw, default_uw, dpm, least_uw, most_uw, reserved[3]; };
EXPORT int amdsmi_get_power_cap_info(void *handle, uint32_t sensor, struct cap *cap) {
  (void)sensor;
  REFUSE(handle, "cap");
  memset(cap, 0, sizeof *cap);
  cap->cap_uw = cap->default_uw = cap->most_uw = (uint64_t)(number_of(index_of(handle), "power_cap_w", 750) * 1e6);
  return SUCCESS;
}

/* What it does now. */

static uint64_t used_bytes(int device) { return (uint64_t)step_at(device, now_s())->used_bytes; }

EXPORT int amdsmi_get_gpu_memory_total(void *handle, int kind, uint64_t *bytes) {
  REFUSE(handle, "memory");
  if (kind != MEMORY_VRAM) return NOT_SUPPORTED;
  *bytes = (uint64_t)number_of(index_of(handle), "memory_bytes", 206141652992.0);
  return SUCCESS;
}

EXPORT int amdsmi_get_gpu_memory_usage(void *handle, int kind, uint64_t *bytes) {
  REFUSE(handle, "memory");
  if (kind != MEMORY_VRAM) return NOT_SUPPORTED;
  *bytes = used_bytes(index_of(handle));
  return SUCCESS;
}

struct process {
  char name[256]; uint32_t pid, padding; uint64_t bytes, gfx_ns, enc_ns; uint32_t reserved_0[12];
  uint64_t gtt_bytes, cpu_bytes, vram_bytes; uint32_t reserved_1[10]; char container[256];
  uint32_t cu_occupancy;
#if SMI == 26
  uint32_t reserved_2[11];
#else
  uint32_t evicted_ms; uint64_t sdma_us; uint32_t reserved_2[8];
#endif
};
_Static_assert(sizeof(struct process) == 704, "27 took two fields from what was reserved");
EXPORT int amdsmi_get_gpu_process_list(void *handle, uint32_t *count, struct process *list) {
  int device = index_of(handle);
  uint32_t room = *count;
  REFUSE(handle, "process");
  *count = whole(device, "processes", 1);
  if (!room || !list) return room ? INVAL : SUCCESS;
  for (uint32_t i = 0; i < *count && i < room; i++) {
    memset(&list[i], 0, sizeof list[i]);
    snprintf(list[i].name, sizeof list[i].name, "python");
    if (i + 1 < *count) continue; /* others, of no memory and no id: ours is the last */
    list[i].pid = whole(device, "pid", getpid());
    list[i].vram_bytes = (uint64_t)number_of(device, "process_bytes", (double)used_bytes(device));
    list[i].bytes = list[i].vram_bytes;
    list[i].cu_occupancy = ~0u;
  }
  if (*count > room) return OUT_OF_RESOURCES;
  return whole(device, "hidden_processes", 0) ? NO_PERM : SUCCESS;
}

static int watts(int device) {
  return (int)(number_of(device, "power_reads", sensor_w(meter_of(device))) + 0.5);
}

/* Before 27 what it calls the power of the whole board (ubb) was padding. */
struct power { uint64_t socket; uint32_t current, average; uint64_t gfx_mv, soc_mv, mem_mv; uint32_t limit, ubb; uint64_t reserved[18]; };
EXPORT int amdsmi_get_power_info(void *handle, struct power *power) {
  int device = index_of(handle);
  REFUSE(handle, "power");
  memset(power, 0, sizeof *power);
  power->socket = power->current = power->average = NOT_AVAILABLE;
  power->gfx_mv = power->soc_mv = power->mem_mv = NOT_AVAILABLE;
  power->limit = whole(device, "power_cap_w", 750);
  if (SMI == 27) power->ubb = UINT32_MAX;
  if (says(device, "power", "current", "current")) power->socket = power->current = watts(device);
  if (says(device, "power", "average", "current")) power->socket = power->average = watts(device);
  if (says(device, "power", "zero", "current")) power->socket = power->average = 0;
  return SUCCESS;
}

EXPORT int amdsmi_get_energy_count(void *handle, uint64_t *count, float *resolution_uj, uint64_t *at_ns) {
  int device = index_of(handle);
  REFUSE(handle, "energy");
  *resolution_uj = (float)number_of(device, "counter_resolution_uj", 15.3);
  *count = (uint64_t)(counter_j(meter_of(device)) * 1e6 / number_of(device, "energy_unit_uj", 15.2587890625));
  *at_ns = (uint64_t)(counter_s(meter_of(device)) * 1e9);
  if (says(device, "energy", "zero", "counts")) *count = 0;
  return SUCCESS;
}

struct clock { uint32_t now, least, most; uint8_t locked, deep_sleep, padding[2]; uint32_t reserved[4]; };
EXPORT int amdsmi_get_clock_info(void *handle, int kind, struct clock *clock) {
  int device = index_of(handle);
  REFUSE(handle, "clock");
  if (kind != CLOCK_GFX && kind != CLOCK_MEM) return NOT_SUPPORTED;
  memset(clock, 0, sizeof *clock);
  clock->now = whole(device, kind == CLOCK_GFX ? "clock_mhz" : "memory_clock_mhz", kind == CLOCK_GFX ? 2100 : 1300);
  clock->most = whole(device, kind == CLOCK_GFX ? "max_clock_mhz" : "max_memory_clock_mhz", clock->now);
  return SUCCESS;
}

/* In degrees: the library itself divides the kernel's millidegrees by 1000. */
EXPORT int amdsmi_get_temp_metric(void *handle, int sensor, int metric, int64_t *degrees) {
  (void)metric;
  REFUSE(handle, "temperature");
  if (sensor != TEMPERATURE_HOTSPOT) return NOT_SUPPORTED;
  *degrees = whole(index_of(handle), "temperature_c", 61);
  return SUCCESS;
}

struct errors { uint64_t corrected, uncorrected, deferred, reserved[5]; };
EXPORT int amdsmi_get_gpu_total_ecc_count(void *handle, struct errors *errors) {
  REFUSE(handle, "ecc");
  memset(errors, 0, sizeof *errors);
  errors->uncorrected = (uint64_t)number_of(index_of(handle), "ecc_errors", 0);
  return SUCCESS;
}

/* amdsmi_gpu_metrics_t; unnamed stretches hold what nobody here reads. 27 widened two accumulators before
 * the throttle bits and two more before the residencies from 32 to 64 bits. */
#if SMI == 26
enum { BEFORE_BITS = 112, BEFORE_RESIDENCIES = 304, AFTER_RESIDENCIES = 4072, METRICS = 4544 };
#else
enum { BEFORE_BITS = 120, BEFORE_RESIDENCIES = 312, AFTER_RESIDENCIES = 4248, METRICS = 4736 };
#endif
struct metrics {
  uint8_t unread_0[BEFORE_BITS]; uint64_t throttle_bits;
  uint8_t unread_1[BEFORE_RESIDENCIES]; uint64_t cycles, prochot, ppt, socket_thermal, vr_thermal, hbm_thermal;
  uint8_t unread_2[AFTER_RESIDENCIES];
};
_Static_assert(sizeof(struct metrics) == METRICS, "as binding and header have it");

/* Milliseconds until now in which one of those bits was set. */
static uint64_t throttled_ms(int device, uint64_t bits) {
  double seconds = 0, now = now_s();
  for (int i = 0; i < STEP_COUNT[device] && TRACES[device][i].from_s < now; i++) {
    double until = i + 1 < STEP_COUNT[device] ? TRACES[device][i + 1].from_s : now;
    if (TRACES[device][i].throttles & bits) seconds += (until < now ? until : now) - TRACES[device][i].from_s;
  }
  return (uint64_t)(seconds * 1e3);
}

EXPORT int amdsmi_get_gpu_metrics_info(void *handle, struct metrics *metrics) {
  int device = index_of(handle), meter = meter_of(device);
  REFUSE(handle, "metrics");
  memset(metrics, 0xFF, sizeof *metrics);
  if (says(device, "throttle", "bits", "residency")) metrics->throttle_bits = step_at(meter, now_s())->throttles;
  if (!says(device, "throttle", "residency", "residency")) return SUCCESS;
  metrics->cycles = (uint64_t)(now_s() * 1e3);
  metrics->prochot = throttled_ms(meter, 1ull << 47);
  metrics->ppt = throttled_ms(meter, 0xFF);
  metrics->socket_thermal = throttled_ms(meter, 1ull << 36 | 1ull << 37);
  metrics->vr_thermal = throttled_ms(meter, 0xFull << 38);
  metrics->hbm_thermal = throttled_ms(meter, 1ull << 34);
  return SUCCESS;
}
