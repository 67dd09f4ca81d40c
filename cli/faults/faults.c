/*
 * A disk that can lose power or break, and a clock that can jump, for one process: LD_PRELOAD of this library.
 * It changes nothing by itself, and
 *
 *   writes down each sync:   DISK_LOG    "S <bytes> <path>" when a file was synced at that size
 *                                        (by fsync, or by a write to what was opened with O_DSYNC),
 *                                        "R <old>\t<new>" when one was renamed
 *   fails on demand:         DISK_FAULT  a file that may come and go; its first word is
 *                                        "fsync" (EIO from fsync, fdatasync and writes that sync),
 *                                        "write" (ENOSPC from writes), "full" (the same, and statfs
 *                                        tells 0 bytes), "lie" (syncs succeed and are not written
 *                                        down), or "free N" (statfs tells N bytes)
 *   moves the wall clock:    CLOCK_OFFSET a file of 8 bytes that is there when the process begins and is
 *                                        never cut: how far the time of day is ahead, ns, as the machine
 *                                        writes a signed number. Monotonic clocks are left alone.
 *
 * Only files below DISK_ROOT are meant. What a file has beyond its last synced size is what a power loss
 * would take; taking it is the part of whoever started the process. Directory entries are taken as durable once their file is
 * synced, as ext4 does.
 */
#define _GNU_SOURCE
#define __NO_INLINE__ 1
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

static const char *root(void) { return getenv("DISK_ROOT"); }

/* The path of a descriptor when it is a file that is meant. */
static int meant(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length <= 0 || root() == NULL) return 0;
  path[length] = 0;
  return strncmp(path, root(), strlen(root())) == 0;
}

static int fault(const char *kind, long long *number) {
  const char *file = getenv("DISK_FAULT");
  if (file == NULL) return 0;
  int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDONLY);
  if (fd < 0) return 0;
  char text[64] = {0};
  ssize_t got = syscall(SYS_read, fd, text, sizeof text - 1);
  syscall(SYS_close, fd);
  size_t length = strlen(kind);
  if (got <= 0 || strncmp(text, kind, length) != 0) return 0;
  if (number != NULL) *number = atoll(text + length);
  return 1;
}

static void note(const char *line) {
  const char *file = getenv("DISK_LOG");
  if (file == NULL) return;
  int fd = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd < 0) return;
  syscall(SYS_write, fd, line, strlen(line));
  syscall(SYS_close, fd);
}

static int synced(int fd, int (*sync)(int)) {
  char path[PATH_MAX];
  if (!meant(fd, path)) return sync(fd);
  if (fault("fsync", NULL)) {
    errno = EIO;
    return -1;
  }
  struct stat before;
  /* What is written while the sync is under way may not be in it. */
  int known = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
  int result = sync(fd);
  if (result == 0 && known && !fault("lie", NULL)) {
    char line[PATH_MAX + 64];
    snprintf(line, sizeof line, "S %lld %s\n", (long long)before.st_size, path);
    note(line);
  }
  return result;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

/* Opened so that every write is a sync, which sockets are not. */
static int syncs(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_DSYNC) != 0;
}

static int refused(int fd) {
  char path[PATH_MAX];
  int error = fault("write", NULL) || fault("full", NULL) ? ENOSPC
              : syncs(fd) && fault("fsync", NULL)         ? EIO
                                                          : 0;
  if (error == 0 || !meant(fd, path)) return 0;
  errno = error;
  return 1;
}

/* A write that is a sync of what the file has now; all that is written to such a file is. */
static ssize_t wrote(int fd, ssize_t result) {
  char path[PATH_MAX];
  if (result < 0 || !syncs(fd) || !meant(fd, path) || fault("lie", NULL)) return result;
  int error = errno;
  struct stat after;
  if (fstat(fd, &after) == 0) {
    char line[PATH_MAX + 64];
    snprintf(line, sizeof line, "S %lld %s\n", (long long)after.st_size, path);
    note(line);
  }
  errno = error;
  return result;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  return refused(fd) ? -1 : wrote(fd, REAL(write)(fd, bytes, count));
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  return refused(fd) ? -1 : wrote(fd, REAL(writev)(fd, parts, count));
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  return refused(fd) ? -1 : wrote(fd, REAL(pwrite64)(fd, bytes, count, at));
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  return refused(fd) ? -1 : wrote(fd, REAL(pwritev64)(fd, parts, count, at));
}

/* LevelDB writes by streams, whose own writes cannot be caught. */
#undef fwrite_unlocked
#undef fflush_unlocked
size_t fwrite_unlocked(const void *bytes, size_t size, size_t count, FILE *stream) {
  return refused(fileno(stream)) ? 0 : REAL(fwrite_unlocked)(bytes, size, count, stream);
}
int fflush_unlocked(FILE *stream) {
  return stream != NULL && refused(fileno(stream)) ? EOF : REAL(fflush_unlocked)(stream);
}

int rename(const char *from, const char *to) {
  int result = REAL(rename)(from, to);
  char full[2][PATH_MAX];
  if (result == 0 && root() != NULL && realpath(to, full[1]) != NULL &&
      strncmp(full[1], root(), strlen(root())) == 0) {
    if (from[0] == '/') snprintf(full[0], PATH_MAX, "%s", from);
    else {
      char here[PATH_MAX / 2];
      if (getcwd(here, sizeof here) == NULL) return result;
      snprintf(full[0], PATH_MAX, "%s/%s", here, from);
    }
    char line[2 * PATH_MAX + 16];
    snprintf(line, sizeof line, "R %s\t%s\n", full[0], full[1]);
    note(line);
  }
  return result;
}

static void shrink(struct statfs *result) {
  long long bytes = 0;
  if (!fault("free", &bytes) && !fault("full", NULL)) return;
  result->f_bavail = bytes / result->f_bsize;
  result->f_bfree = result->f_bavail;
}

int statfs(const char *path, struct statfs *result) {
  int code = REAL(statfs)(path, result);
  if (code == 0) shrink(result);
  return code;
}
int statfs64(const char *path, struct statfs64 *result) {
  int code = REAL(statfs64)(path, result);
  if (code == 0) shrink((struct statfs *)result);
  return code;
}

/* Mapped once: the time is asked for all the time. */
static const volatile long long *offset;

__attribute__((constructor)) static void map_offset(void) {
  const char *file = getenv("CLOCK_OFFSET");
  if (file == NULL) return;
  int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  struct stat stat;
  if (fstat(fd, &stat) == 0 && stat.st_size >= (off_t)sizeof *offset) {
    void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) offset = mapped;
  }
  syscall(SYS_close, fd);
}

#define NS_IN_S 1000000000LL

static long long moved(long long ns) { return offset == NULL ? ns : ns + *offset; }

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (real == NULL) real = REAL(clock_gettime);
  int result = real(clock, now);
  if (result != 0 || offset == NULL) return result;
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return result;
  long long ns = moved(now->tv_sec * NS_IN_S + now->tv_nsec);
  now->tv_sec = ns / NS_IN_S;
  now->tv_nsec = ns % NS_IN_S;
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into != NULL) *into = now.tv_sec;
  return now.tv_sec;
}
