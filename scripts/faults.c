/* Makes one system call of a program fail, or logs its system calls; see scripts/faults.

   Load it with LD_PRELOAD. Only calls for paths under $FAULTS_ROOT count.
   $FAULTS = call:n:action acts at the n-th call of this name. The action is one of
     a number        the call fails with this errno
     short           pwrite writes only one byte
     kill            the process gets SIGKILL
     stop            the process gets SIGSTOP
     truncate=path   the file is emptied before the call
     change=path     before the call, a bit of every 64th byte in the file's second half is flipped
   $FAULTS = flip:offset:name flips a bit of the byte at this offset each time it is read from the
   staged file of this name.
   $FAULTS_CLOCK = seconds is added to the time of day.
   $FAULTS_LOG = path gets a line for each successful call, in order. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long count;

static int is_ours(const char *path) {
  const char *root = getenv("FAULTS_ROOT");
  return root && strncmp(path, root, strlen(root)) == 0;
}

static int path_of(int file, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  path[length < 0 ? 0 : length] = 0;
  return is_ours(path);
}

static void change(const char *path) {
  int file = REAL(open)(path, O_RDWR);
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) return;
  for (off_t offset = status.st_size / 2; offset < status.st_size; offset += 64) {
    char byte;
    if (REAL(pread)(file, &byte, 1, offset) != 1) break;
    byte ^= 1;
    if (REAL(pwrite)(file, &byte, 1, offset) != 1) break;
  }
  close(file);
}

/* The fault of this call: 0 for none, an errno, or -1 for a short write. */
static int fault(const char *call) {
  const char *plan = getenv("FAULTS");
  size_t length = strlen(call);
  if (!plan || strncmp(plan, call, length) != 0 || plan[length] != ':') return 0;
  char *action;
  long wanted = strtol(plan + length + 1, &action, 10);
  if (__atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST) != wanted) return 0;
  action++;
  if (strcmp(action, "short") == 0) return -1;
  if (strcmp(action, "kill") == 0) raise(SIGKILL);
  if (strcmp(action, "stop") == 0) return raise(SIGSTOP), 0;
  if (strncmp(action, "truncate=", 9) == 0) return truncate(action + 9, 0), 0;
  if (strncmp(action, "change=", 7) == 0) return change(action + 7), 0;
  return atoi(action);
}

static void note(const char *call, const char *path, const char *more) {
  const char *log = getenv("FAULTS_LOG");
  if (!log) return;
  char line[2 * PATH_MAX + 64];
  int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", call, path, more);
  int file = REAL(open)(log, O_WRONLY | O_APPEND | O_CREAT, 0644);
  if (write(file, line, length) != length) abort();
  close(file);
}

/* Calls wait for each other, so that the log has their order. */
#define CALL(name, path, more, failure, expression)             \
  do {                                                          \
    int error = fault(name);                                    \
    if (error > 0) return errno = error, failure;               \
    if (!getenv("FAULTS_LOG")) return expression;               \
    pthread_mutex_lock(&lock);                                  \
    __typeof__(expression) result = expression;                 \
    int saved = errno;                                          \
    if (result != -1) note(name, path, more);                   \
    pthread_mutex_unlock(&lock);                                \
    errno = saved;                                              \
    return result;                                              \
  } while (0)

static int open_any(const char *path, int flags, mode_t mode) {
  if (!is_ours(path)) return REAL(open)(path, flags, mode);
  if (flags & O_DIRECT) CALL("open direct", path, "", -1, REAL(open)(path, flags, mode));
  if (!(flags & O_CREAT)) CALL("open", path, "", -1, REAL(open)(path, flags, mode));
  CALL("create", path, "", -1, REAL(open)(path, flags, mode));
}

int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open_any(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open_any(path, flags, mode);
}

/* Flips the bit that $FAULTS names, if it is among the bytes that were read. */
static ssize_t flipped(const char *path, char *bytes, off_t offset, ssize_t size) {
  const char *plan = getenv("FAULTS");
  if (!plan || strncmp(plan, "flip:", 5) != 0) return size;
  if (!strstr(path, ".partial/") && !strstr(path, ".parts/output/")) return size;
  char *name;
  off_t flip = strtoll(plan + 5, &name, 10);
  size_t length = strlen(path), tail = strlen(++name);
  if (length < tail || strcmp(path + length - tail, name) != 0) return size;
  if (flip >= offset && flip - offset < size) bytes[flip - offset] ^= 1;
  return size;
}

static ssize_t read_any(int file, void *bytes, size_t size, off_t offset) {
  char path[PATH_MAX];
  if (!path_of(file, path)) return REAL(pread)(file, bytes, size, offset);
  if (fcntl(file, F_GETFL) & O_DIRECT)
    CALL("pread direct", path, "", -1,
         flipped(path, bytes, offset, REAL(pread)(file, bytes, size, offset)));
  CALL("pread", path, "", -1, flipped(path, bytes, offset, REAL(pread)(file, bytes, size, offset)));
}

ssize_t pread(int file, void *bytes, size_t size, off_t offset) {
  return read_any(file, bytes, size, offset);
}

ssize_t pread64(int file, void *bytes, size_t size, off_t offset) {
  return read_any(file, bytes, size, offset);
}

static ssize_t write_any(int file, const void *bytes, size_t size, off_t offset) {
  char path[PATH_MAX];
  if (!path_of(file, path)) return REAL(pwrite)(file, bytes, size, offset);
  int error = fault("pwrite");
  if (error > 0) return errno = error, -1;
  if (error < 0 && size > 1) size = 1;
  CALL("pwrite ", path, "", -1, REAL(pwrite)(file, bytes, size, offset));
}

ssize_t pwrite(int file, const void *bytes, size_t size, off_t offset) {
  return write_any(file, bytes, size, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off_t offset) {
  return write_any(file, bytes, size, offset);
}

ssize_t copy_file_range(int from, off_t *source, int to, off_t *target, size_t size,
                        unsigned flags) {
  char path[PATH_MAX];
  if (!path_of(to, path)) return REAL(copy_file_range)(from, source, to, target, size, flags);
  CALL("copy", path, "", -1, REAL(copy_file_range)(from, source, to, target, size, flags));
}

int posix_fallocate(int file, off_t offset, off_t size) {
  char path[PATH_MAX];
  if (path_of(file, path)) {
    int error = fault("reserve");
    if (error > 0) return error;
    note("reserve", path, "");
  }
  return REAL(posix_fallocate)(file, offset, size);
}

int posix_fadvise(int file, off_t offset, off_t size, int advice) {
  char path[PATH_MAX];
  if (advice == POSIX_FADV_DONTNEED && path_of(file, path)) note("forget", path, "");
  return REAL(posix_fadvise)(file, offset, size, advice);
}

int sync_file_range(int file, off64_t offset, off64_t size, unsigned flags) {
  char path[PATH_MAX];
  if (!(flags & SYNC_FILE_RANGE_WAIT_BEFORE) || !path_of(file, path))
    return REAL(sync_file_range)(file, offset, size, flags);
  CALL("wait", path, "", -1, REAL(sync_file_range)(file, offset, size, flags));
}

int ftruncate(int file, off_t size) {
  char path[PATH_MAX];
  if (!path_of(file, path)) return REAL(ftruncate)(file, size);
  CALL("ftruncate", path, "", -1, REAL(ftruncate)(file, size));
}

int fsync(int file) {
  char path[PATH_MAX];
  if (!path_of(file, path)) return REAL(fsync)(file);
  CALL("fsync", path, "", -1, REAL(fsync)(file));
}

int fdatasync(int file) {
  char path[PATH_MAX];
  if (!path_of(file, path)) return REAL(fdatasync)(file);
  CALL("fsync", path, "", -1, REAL(fdatasync)(file));
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
  if (!is_ours(old)) return REAL(renameat2)(from, old, to, new, flags);
  CALL("rename", old, new, -1, REAL(renameat2)(from, old, to, new, flags));
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
  if (!is_ours(new)) return REAL(linkat)(from, old, to, new, flags);
  CALL("link", new, "", -1, REAL(linkat)(from, old, to, new, flags));
}

int rename(const char *old, const char *new) {
  if (!is_ours(old)) return REAL(rename)(old, new);
  CALL("rename", old, new, -1, REAL(rename)(old, new));
}

int unlink(const char *path) {
  if (!is_ours(path)) return REAL(unlink)(path);
  CALL("unlink", path, "", -1, REAL(unlink)(path));
}

int mkdir(const char *path, mode_t mode) {
  if (!is_ours(path)) return REAL(mkdir)(path, mode);
  CALL("mkdir", path, "", -1, REAL(mkdir)(path, mode));
}

static time_t shift(void) {
  const char *seconds = getenv("FAULTS_CLOCK");
  return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int status = REAL(clock_gettime)(clock, now);
  if (status == 0 && clock == CLOCK_REALTIME) now->tv_sec += shift();
  return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int status = REAL(gettimeofday)(now, zone);
  if (status == 0) now->tv_sec += shift();
  return status;
}

time_t time(time_t *now) {
  time_t shifted = REAL(time)(NULL) + shift();
  if (now) *now = shifted;
  return shifted;
}
