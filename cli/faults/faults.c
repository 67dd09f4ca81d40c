/*
 * A disk that can lose power or break, for one process: LD_PRELOAD of this library. It changes nothing by
 * itself, and
 *
 *   writes down each sync:   DISK_LOG    "S <bytes> <path>" when a file was synced at that size,
 *                                        "R <old>\t<new>" when one was renamed
 *   fails on demand:         DISK_FAULT  a file that may come and go; its first word is
 *                                        "fsync" (EIO from fsync and fdatasync), "write" (ENOSPC from
 *                                        writes), "lie" (syncs succeed and are not written down), or
 *                                        "free N" (statfs tells N bytes)
 *
 * Only files below DISK_ROOT are meant. What a file has beyond its last synced size is what a power loss
 * would take; taking it is the test's part. Directory entries are taken as durable once their file is
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
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
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

static int refused(int fd) {
  char path[PATH_MAX];
  if (!fault("write", NULL) || !meant(fd, path)) return 0;
  errno = ENOSPC;
  return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  return refused(fd) ? -1 : REAL(write)(fd, bytes, count);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  return refused(fd) ? -1 : REAL(writev)(fd, parts, count);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  return refused(fd) ? -1 : REAL(pwrite64)(fd, bytes, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  return refused(fd) ? -1 : REAL(pwritev64)(fd, parts, count, at);
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
  long long bytes;
  if (!fault("free", &bytes)) return;
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
