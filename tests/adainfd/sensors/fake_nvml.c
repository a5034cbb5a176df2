/*
 * A libnvidia-ml.so.1 without a GPU: it answers what stands in the file that FAKE_NVML names, read anew at each call.
 *
 *   count 2                            how many GPUs there are
 *   0.utilization 40                   a number of GPU 0; 0 where the line is missing
 *   0.uuid GPU-1234                    its UUID
 *   0.sample 4711 300 25               process 4711, sampled 300 ms ago, at 25 %; a line a sample
 *   0.pads 1                           samples are told however old they are
 *   0.process 4711                     a process that computes; a line a process
 *   error nvmlDeviceGetPowerUsage 15   the function fails with this code, on every GPU
 *
 * With OLD_DRIVER defined it lacks what NVML has gained since driver 510.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { MAXIMUM_GPUS = 4, LINE = 256 };

typedef struct { unsigned index; } Device;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; int celsius; } Margin;
typedef struct { unsigned version; int sensor; int celsius; } Temperature;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned pid; unsigned long long time_stamp; unsigned sm, memory, encoder, decoder; } Sample;

static Device devices[MAXIMUM_GPUS] = {{0}, {1}, {2}, {3}};
static int initialised;

/* What follows `key` in the line that is the `nth` with it, from 0; 0 where there is none. */
static int find(const char *key, unsigned nth, char *rest) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[LINE];
    size_t length = strlen(key);
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, key, length) && line[length] == ' ' && nth-- == 0) {
            strcpy(rest, line + length + 1);
            found = 1;
        }
    }
    if (file) fclose(file);
    return found;
}

static int find_of(const Device *device, const char *key, unsigned nth, char *rest) {
    char full[LINE];
    snprintf(full, sizeof full, "%u.%s", device->index, key);
    return find(full, nth, rest);
}

static long long number(const Device *device, const char *key) {
    char rest[LINE];
    return find_of(device, key, 0, rest) ? strtoll(rest, NULL, 0) : 0;
}

static unsigned count(void) {
    char rest[LINE];
    return find("count", 0, rest) ? (unsigned)atoi(rest) : 0;
}

static int error(const char *function) {
    char key[LINE], rest[LINE];
    snprintf(key, sizeof key, "error %s", function);
    return find(key, 0, rest) ? atoi(rest) : initialised ? SUCCESS : UNINITIALIZED;
}

#define FAIL_IF_TOLD() do { int code = error(__func__); if (code) return code; } while (0)

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    initialised++;
    int code = error(__func__);
    if (code) initialised--;
    return code;
}

int nvmlShutdown(void) {
    int code = error(__func__);
    if (initialised) initialised--;
    return code;
}

const char *nvmlErrorString(int code) {
    (void)code;
    return "An error that only the driver knows";
}

int nvmlDeviceGetCount_v2(unsigned *answer) {
    FAIL_IF_TOLD();
    *answer = count();
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    FAIL_IF_TOLD();
    if (index >= count()) return INVALID_ARGUMENT;
    *device = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device **device) {
    char rest[LINE];
    FAIL_IF_TOLD();
    for (unsigned index = 0; index < count(); index++) {
        if (find_of(&devices[index], "uuid", 0, rest) && !strcmp(rest, uuid)) {
            *device = &devices[index];
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(Device *device, char *uuid, unsigned length) {
    char rest[LINE];
    FAIL_IF_TOLD();
    if (!find_of(device, "uuid", 0, rest)) return NOT_SUPPORTED;
    snprintf(uuid, length, "%s", rest);
    return SUCCESS;
}

int nvmlDeviceGetName(Device *device, char *name, unsigned length) {
    FAIL_IF_TOLD();
    snprintf(name, length, "GPU %u", device->index);
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(Device *device, Utilization *answer) {
    FAIL_IF_TOLD();
    answer->gpu = (unsigned)number(device, "utilization");
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(Device *device, Memory *answer) {
    FAIL_IF_TOLD();
    answer->total = (unsigned long long)number(device, "memory_total");
    answer->free = (unsigned long long)number(device, "memory_free");
    answer->used = answer->total - answer->free;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatts) {
    FAIL_IF_TOLD();
    *milliwatts = (unsigned)number(device, "milliwatts");
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(Device *device, unsigned *milliwatts) {
    FAIL_IF_TOLD();
    *milliwatts = (unsigned)number(device, "limit_milliwatts");
    return SUCCESS;
}

int nvmlDeviceGetTemperature(Device *device, int sensor, unsigned *celsius) {
    FAIL_IF_TOLD();
    if (sensor != 0) return INVALID_ARGUMENT;
    *celsius = (unsigned)number(device, "celsius");
    return SUCCESS;
}

int nvmlDeviceGetTemperatureThreshold(Device *device, int threshold, unsigned *celsius) {
    FAIL_IF_TOLD();
    if (threshold != 1) return INVALID_ARGUMENT;
    *celsius = (unsigned)number(device, "slowdown_celsius");
    return *celsius ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetProcessUtilization(Device *device, Sample *samples, unsigned *size, unsigned long long since) {
    char rest[LINE];
    struct timeval now;
    unsigned found = 0;
    FAIL_IF_TOLD();
    gettimeofday(&now, NULL);
    for (unsigned nth = 0; find_of(device, "sample", nth, rest); nth++) {
        unsigned pid, percent;
        long long age;
        if (sscanf(rest, "%u %lld %u", &pid, &age, &percent) != 3) return INVALID_ARGUMENT;
        unsigned long long at = (unsigned long long)(now.tv_sec * 1000000LL + now.tv_usec - age * 1000);
        if (at <= since && !number(device, "pads")) continue;
        if (samples && found < *size) samples[found] = (Sample){pid, at, percent, 0, 0, 0};
        found++;
    }
    if (!found) return NOT_FOUND;
    int fits = samples && found <= *size;
    *size = found;
    return fits ? SUCCESS : INSUFFICIENT_SIZE;
}

static int running(Device *device, unsigned *size, Process *processes) {
    char rest[LINE];
    unsigned found = 0;
    for (; find_of(device, "process", found, rest); found++)
        if (processes && found < *size) processes[found] = (Process){(unsigned)atoi(rest), 1 << 20, 0, 0};
    int fits = found <= *size;
    *size = found;
    return fits ? SUCCESS : INSUFFICIENT_SIZE;
}

static int throttled(Device *device, unsigned long long *bits) {
    *bits = (unsigned long long)number(device, "reasons");
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v2(Device *device, unsigned *size, Process *processes) {
    FAIL_IF_TOLD();
    return running(device, size, processes);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *bits) {
    FAIL_IF_TOLD();
    return throttled(device, bits);
}

#ifndef OLD_DRIVER
int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *size, Process *processes) {
    FAIL_IF_TOLD();
    return running(device, size, processes);
}

int nvmlDeviceGetCurrentClocksEventReasons(Device *device, unsigned long long *bits) {
    FAIL_IF_TOLD();
    return throttled(device, bits);
}

int nvmlDeviceGetTemperatureV(Device *device, Temperature *answer) {
    FAIL_IF_TOLD();
    if (answer->sensor != 0) return INVALID_ARGUMENT;
    answer->celsius = (int)number(device, "celsius");
    return SUCCESS;
}

int nvmlDeviceGetMarginTemperature(Device *device, Margin *answer) {
    FAIL_IF_TOLD();
    answer->celsius = (int)number(device, "margin_celsius");
    return answer->celsius ? SUCCESS : NOT_SUPPORTED;
}
#endif
