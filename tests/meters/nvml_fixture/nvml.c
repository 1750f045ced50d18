/* A GPU driver's management library (NVML) whose true power is known.
 *
 * Only the functions that the meter, its benchmark and zeus call, with the signatures of NVIDIA's
 * public API reference (https://docs.nvidia.com/deploy/nvml-api/). The settings, `name=number`
 * separated by blanks, come from the environment variable FAKE_NVML and from
 * fake_nvml_configure(); see `settings` below. Time is CLOCK_MONOTONIC until fake_nvml_set_time().
 * Ticks are counted from the start, which is the first configuration or call after a reset.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, SMALL = 7, LOST = 15 };
enum { MOST_GPUS = 4 };

static const struct setting {
  const char *name;
  double value;
} defaults[] = {
    {"gpus", 1},
    {"watts", 350},             /* GPU i draws this / (i + 1) */
    {"low_watts", 100},         /* of the square wave and at the start of the ramp */
    {"period_ms", 0},           /* > 0: a square wave */
    {"duty", 0.5},
    {"ramp_ms", 0},             /* > 0: a ramp from low_watts to watts */
    {"tick_ms", 100},           /* the counter's and the sensor's update period */
    {"jitter_ms", 0},           /* a tick comes early or late by at most this */
    {"phase_ms", 0},            /* GPU i ticks i times this later than the first */
    {"sensor_ms", 25},          /* the sensor averages this long before a tick */
    {"swap", 0},                /* NVML's first GPU is the last on the PCI bus */
    {"mixed", 0},               /* the GPUs are of different models */
    {"energy_unsupported", 0},
    {"power_unsupported", 0},
    {"stuck_from_ms", INFINITY}, /* the counter stands still after this */
    {"reset_at_ms", INFINITY},   /* the counter starts again at 0 */
    {"lost_at_ms", INFINITY},    /* all calls fail after this */
    {"lost_after", INFINITY},    /* ... or after this many reads of energy and power */
    {"mig_gpu", -1},            /* this GPU is partitioned */
    {"module", 0},              /* power and energy are the module's; the GPU alone draws half */
    {"counter_gain", 1},        /* the counter's error, as a factor */
    {"clock_reasons", 0},
    {"temperature", 45},
    {"limit_watts", 700},
    {"pids", 0},                /* how many of the next four compute on each GPU */
    {"pid0", 0}, {"pid1", 0}, {"pid2", 0}, {"pid3", 0},
};

enum { SETTINGS = sizeof defaults / sizeof *defaults };
static struct setting settings[SETTINGS];
static int64_t start_ns = -1, virtual_ns = -1;
static long reads;

static double get(const char *name) {
  for (size_t i = 0; i < SETTINGS; i++)
    if (!strcmp(settings[i].name, name)) return settings[i].value;
  fprintf(stderr, "fake NVML: no setting %s\n", name);
  abort();
}

static int64_t now_ns(void) {
  struct timespec t;
  if (virtual_ns >= 0) return virtual_ns;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Forget all settings, the start and the virtual time. */
void fake_nvml_reset(void) {
  memcpy(settings, defaults, sizeof settings);
  start_ns = virtual_ns = -1, reads = 0;
}

/* Return 0, or -1 at an unknown name. */
int fake_nvml_configure(const char *text) {
  char copy[1024], *rest = copy, *word;
  snprintf(copy, sizeof copy, "%s", text);
  while ((word = strtok_r(rest, " ", &rest))) {
    char *value = strchr(word, '=');
    size_t i = 0;
    if (!value) return -1;
    *value++ = 0;
    while (i < SETTINGS && strcmp(settings[i].name, word)) i++;
    if (i == SETTINGS) return -1;
    settings[i].value = strtod(value, NULL);
  }
  if (start_ns < 0) start_ns = now_ns();
  return 0;
}

void fake_nvml_set_time(int64_t ns) { virtual_ns = ns; }

static double elapsed_s(void) {
  if (start_ns < 0) {
    memcpy(settings, defaults, sizeof settings);
    if (getenv("FAKE_NVML") && fake_nvml_configure(getenv("FAKE_NVML"))) abort();
    start_ns = now_ns();
  }
  return (now_ns() - start_ns) / 1e9;
}

/* The first GPU's joules from the start to t, exactly. */
static double integral_j(double t) {
  double high = get("watts"), low = get("low_watts");
  double period = get("period_ms") / 1e3, ramp = get("ramp_ms") / 1e3;
  if (period > 0) {
    double on = period * get("duty"), n = floor(t / period), rest = t - n * period;
    double wave = high * on + low * (period - on);
    return n * wave + (rest < on ? high * rest : high * on + low * (rest - on));
  }
  if (ramp > 0) {
    if (t < 0) return low * t;
    if (t < ramp) return low * t + (high - low) * t * t / (2 * ramp);
    return (high + low) / 2 * ramp + high * (t - ramp);
  }
  return high * t;
}

/* The true joules of a GPU between two times of the monotonic clock. */
double fake_nvml_true_j(int gpu, int64_t from_ns, int64_t to_ns) {
  double from = (from_ns - start_ns) / 1e9, to = (to_ns - start_ns) / 1e9;
  return (integral_j(to) - integral_j(from)) / (gpu + 1);
}

/* The last tick at or before t: each is off by a hash of its number, at most by the jitter. */
static double last_tick_s(int gpu, double t) {
  double phase = gpu * get("phase_ms") / 1e3, tick = get("tick_ms") / 1e3, jitter = get("jitter_ms") / 1e3;
  for (long k = (long)floor((t - phase) / tick) + 1;; k--) {
    uint32_t hash = (uint32_t)k * 2654435761u;
    double at = phase + k * tick + jitter * ((hash >> 8) / 8388608.0 - 1);
    if (at <= t) return at;
  }
}

static int index_of(void *handle) { return (int)((intptr_t)handle - 1); }
static int lost(double t) { return t * 1e3 >= get("lost_at_ms") || ++reads > get("lost_after"); }

int nvmlInitWithFlags(unsigned flags) { return elapsed_s() >= 0 && !flags ? OK : INVALID; }
int nvmlShutdown(void) { return OK; }
int nvmlSystemGetDriverVersion(char *text, unsigned n) { snprintf(text, n, "fake"); return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)get("gpus"); return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
  if (index >= get("gpus") || index >= MOST_GPUS) return INVALID;
  *handle = (void *)((intptr_t)index + 1);
  return OK;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned length) {
  int i = index_of(handle);
  snprintf(text, length, "GPU-aaaa%d%d%d%d-0000-4000-8000-00000000000%d", i, i, i, i, i);
  return OK;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned length) {
  int other = get("mixed") && index_of(handle);
  snprintf(text, length, get("module") ? "Fake GH200" : other ? "Fake GPU small" : "Fake GPU");
  return OK;
}

int nvmlDeviceGetArchitecture(void *handle, unsigned *architecture) {
  *architecture = handle ? 9 : 0; /* Hopper */
  return OK;
}

struct pci {
  char legacy[16];
  unsigned domain, bus, device, id, subsystem;
  char bus_id[32];
};
int nvmlDeviceGetPciInfo_v3(void *handle, struct pci *pci) {
  int i = index_of(handle), last = (int)get("gpus") - 1;
  memset(pci, 0, sizeof *pci);
  pci->bus = (unsigned)(1 + 0x40 * (get("swap") ? last - i : i));
  snprintf(pci->legacy, sizeof pci->legacy, "0000:%02X:00.0", pci->bus);
  snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", pci->bus);
  return OK;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
  *current = *pending = get("mig_gpu") == index_of(handle);
  return get("mig_gpu") < 0 ? UNSUPPORTED : OK;
}

int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
  double t = elapsed_s(), reset = get("reset_at_ms") / 1e3, before = 5000, from = 0;
  if (lost(t)) return LOST;
  if (get("energy_unsupported")) return UNSUPPORTED;
  t = last_tick_s(index_of(handle), fmin(t, get("stuck_from_ms") / 1e3));
  if (t >= reset) before = 0, from = reset;
  double joules = (integral_j(t) - integral_j(from)) / (index_of(handle) + 1);
  *millijoules = (unsigned long long)(1e3 * (before + get("counter_gain") * joules));
  return OK;
}

static double mean_w(int gpu, double span_s) {
  double tick = last_tick_s(gpu, elapsed_s());
  return (integral_j(tick) - integral_j(tick - span_s)) / span_s / (gpu + 1);
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
  if (lost(elapsed_s())) return LOST;
  if (get("power_unsupported")) return UNSUPPORTED;
  *milliwatts = (unsigned)(1e3 * mean_w(index_of(handle), get("sensor_ms") / 1e3));
  return OK;
}

/* These three are the same for all GPUs. */
int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *milliwatts) {
  *milliwatts = handle ? (unsigned)(1e3 * get("limit_watts")) : 0;
  return OK;
}
int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *celsius) {
  *celsius = handle && sensor == 0 ? (unsigned)get("temperature") : 0;
  return OK;
}
int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *reasons) {
  *reasons = handle ? (unsigned long long)get("clock_reasons") : 0;
  return OK;
}

struct process { unsigned pid; unsigned long long memory; unsigned instance, compute; };
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, struct process *found) {
  unsigned n = handle ? (unsigned)get("pids") : 0, room = *count;
  *count = n;
  if (room < n) return SMALL;
  for (unsigned i = 0; i < n; i++) {
    char name[] = {'p', 'i', 'd', (char)('0' + i), 0};
    found[i] = (struct process){(unsigned)get(name), 1 << 20, ~0u, ~0u};
  }
  return OK;
}

struct field {
  uint32_t id, scope;
  int64_t timestamp, latency_us;
  unsigned type, status; /* of types, 1 is the unsigned integer */
  union { unsigned ui; unsigned long long ull; } value;
};
int nvmlDeviceGetFieldValues(void *handle, int count, struct field *fields) {
  for (int i = 0; i < count; i++) {
    struct field *f = &fields[i];
    double span = f->id == 185 ? 1.0 : get("sensor_ms") / 1e3; /* average, instant */
    int known = (f->id == 185 || f->id == 186) && !get("power_unsupported");
    f->timestamp = (int64_t)(1e6 * last_tick_s(index_of(handle), elapsed_s()));
    f->latency_us = 0, f->type = 1;
    f->status = known && f->scope <= (get("module") ? 1 : 0) ? OK : UNSUPPORTED;
    double share = get("module") && f->scope == 0 ? 0.5 : 1;
    f->value.ui = (unsigned)(1e3 * share * mean_w(index_of(handle), span));
  }
  return OK;
}
