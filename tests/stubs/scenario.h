/* What a stub library says, read from a text file: the scenario. Both vendors' stubs include this.
 *
 * STUB_SCENARIO names the file; it is read anew at each init. Lines:
 *   set KEY VALUE              of the library, e.g. "set driver 580.65.06"
 *   dev I KEY VALUE            of device I, e.g. "dev 0 name NVIDIA H100 80GB HBM3"
 *   at I T_S POWER_W USED_BYTES THROTTLE_BITS
 *                              from T_S on, device I draws that power and holds those bytes
 * A VALUE is the rest of the line. STUB_CLOCK names a file with the time in ns as a u64, which any
 * process may set; without it time is CLOCK_MONOTONIC since "set started_ns", which several processes
 * may share, or since the scenario was read.
 *
 * Keys of a device that this file itself acts on:
 *   energy_tick_s    the energy counter is refreshed every so often             0.02
 *   power_update_s   the power sensor is refreshed every so often               0.1
 *   power_window_s   and then holds the mean over the window that ends there    0.025
 *   energy_frozen_at from then on the counter stands still
 *   energy_back_at   then the counter starts again from 0
 *   lost_at          from then on the device does not answer
 *   hang_at          from then on a call does not return
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
enum { MOST_DEVICES = 16, MOST_KEYS = 1024, MOST_STEPS = 4096, NEVER = -1 };

/* One step of a device's trace; before_j is the energy used until from_s. */
struct step { double from_s, power_w, used_bytes, before_j; unsigned long long throttles; };
struct entry { int device; char key[48]; char value[216]; };

static struct entry ENTRIES[MOST_KEYS];
static struct step TRACES[MOST_DEVICES][MOST_STEPS];
static int ENTRY_COUNT, STEP_COUNT[MOST_DEVICES];
static const volatile uint64_t *CLOCK_NS;
static uint64_t STARTED_NS;

static uint64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static double now_s(void) { return (CLOCK_NS ? *CLOCK_NS : monotonic_ns() - STARTED_NS) / 1e9; }

static const char *text_of(int device, const char *key, const char *fallback) {
  for (int i = ENTRY_COUNT - 1; i >= 0; i--)
    if (ENTRIES[i].device == device && !strcmp(ENTRIES[i].key, key)) return ENTRIES[i].value;
  return fallback;
}

static double number_of(int device, const char *key, double fallback) {
  const char *text = text_of(device, key, NULL);
  return text ? strtod(text, NULL) : fallback;
}

static const char *setting(const char *key, const char *fallback) { return text_of(NEVER, key, fallback); }

static void add_entry(int device, const char *key, const char *value) {
  if (ENTRY_COUNT == MOST_KEYS) abort();
  struct entry *entry = &ENTRIES[ENTRY_COUNT++];
  entry->device = device;
  snprintf(entry->key, sizeof entry->key, "%s", key);
  snprintf(entry->value, sizeof entry->value, "%s", value);
}

static void add_step(int device, struct step step) {
  int n = STEP_COUNT[device];
  if (n == MOST_STEPS) abort();
  if (n) {
    struct step *last = &TRACES[device][n - 1];
    step.before_j = last->before_j + last->power_w * (step.from_s - last->from_s);
  }
  TRACES[device][STEP_COUNT[device]++] = step;
}

static void read_scenario(void) {
  char line[512], key[48], value[216];
  int device;
  struct step step = {0};
  ENTRY_COUNT = 0;
  memset(STEP_COUNT, 0, sizeof STEP_COUNT);
  STARTED_NS = monotonic_ns();
  const char *clock = getenv("STUB_CLOCK");
  CLOCK_NS = NULL;
  if (clock) {
    int handle = open(clock, O_RDONLY);
    void *page = handle < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, handle, 0);
    if (page == MAP_FAILED) abort();
    CLOCK_NS = page;
    close(handle);
  }
  FILE *file = fopen(getenv("STUB_SCENARIO") ? getenv("STUB_SCENARIO") : "", "r");
  if (!file) abort();
  while (fgets(line, sizeof line, file)) {
    if (sscanf(line, "set %47s %215[^\n]", key, value) == 2) add_entry(NEVER, key, value);
    else if (sscanf(line, "dev %d %47s %215[^\n]", &device, key, value) == 3) add_entry(device, key, value);
    else if (sscanf(line, "at %d %lf %lf %lf %llu", &device, &step.from_s, &step.power_w,
                    &step.used_bytes, &step.throttles) == 5) add_step(device, step);
    else abort();
  }
  fclose(file);
  const char *started = setting("started_ns", NULL);
  if (started) STARTED_NS = strtoull(started, NULL, 10);
}

static int device_count(void) { return (int)strtol(setting("devices", "1"), NULL, 10); }

/* The last step that began at or before t: a binary search, traces have thousands of steps. */
static const struct step *step_at(int device, double t) {
  static const struct step nothing;
  int low = 0, high = STEP_COUNT[device];
  if (!high) return &nothing;
  while (high - low > 1) {
    int middle = (low + high) / 2;
    if (TRACES[device][middle].from_s <= t) low = middle; else high = middle;
  }
  return &TRACES[device][low];
}

static double used_joules(int device, double t) {
  const struct step *step = step_at(device, t);
  return step->before_j + step->power_w * (t - step->from_s);
}

/* The last refresh at or before t. The half nanosecond keeps t = k * period on its own refresh. */
static double refreshed(double t, double period) {
  return period > 0 ? (double)(int64_t)((t + 5e-10) / period) * period : t;
}

static double counter_s(int device) {
  double t = now_s(), frozen = number_of(device, "energy_frozen_at", NEVER);
  if (frozen >= 0 && t > frozen) t = frozen;
  return refreshed(t, number_of(device, "energy_tick_s", 0.02));
}

static double counter_j(int device) {
  double t = counter_s(device), back = number_of(device, "energy_back_at", NEVER);
  return used_joules(device, t) - (back >= 0 && t >= back ? used_joules(device, back) : 0);
}

static double sensor_w(int device) {
  double window = number_of(device, "power_window_s", 0.025);
  double t = refreshed(now_s(), number_of(device, "power_update_s", 0.1));
  if (window <= 0) return step_at(device, t)->power_w;
  return (used_joules(device, t) - used_joules(device, t - window)) / window;
}

/* 1 if the device is gone; does not return once it hangs. */
static int is_lost(int device) {
  double hang = number_of(device, "hang_at", NEVER), lost = number_of(device, "lost_at", NEVER);
  while (hang >= 0 && now_s() >= hang) usleep(50000);
  return lost >= 0 && now_s() >= lost;
}
