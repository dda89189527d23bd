/* Counts the allocations and system calls of a program; see scripts/counts.

   Load it with LD_PRELOAD; it needs glibc. At exit it writes the counts to $COUNTS_LOG, one per
   line. With $COUNTS_PROCESSORS = n the program sees n processors, whatever the machine has. With
   $COUNTS_PAUSE every pread waits a millisecond, so that all threads take part in the work. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

enum { ALLOCATIONS, BYTES, PREAD, PWRITE, COPY, FSYNC, MMAP, READERS, KINDS };
static const char *const names[KINDS] = {"allocations", "bytes", "pread",   "pwrite",
                                         "copy",        "fsync", "mmap", "readers"};
static long counts[KINDS];
static __thread int has_read;

static void add(int kind, long amount) {
  __atomic_add_fetch(&counts[kind], amount, __ATOMIC_RELAXED);
}

static void allocated(size_t size) {
  add(ALLOCATIONS, 1);
  add(BYTES, (long)size);
}

static int processors(void) {
  const char *text = getenv("COUNTS_PROCESSORS");
  return text ? atoi(text) : 0;
}

__attribute__((destructor)) static void write_counts(void) {
  const char *path = getenv("COUNTS_LOG");
  long found[KINDS];
  for (int kind = 0; kind < KINDS; kind++) found[kind] = counts[kind];
  FILE *file = path ? fopen(path, "w") : NULL;
  if (!file) return;
  for (int kind = 0; kind < KINDS; kind++) fprintf(file, "%s %ld\n", names[kind], found[kind]);
  fclose(file);
}

/* Memory. These call the internal functions of glibc, because dlsym would allocate. */

void *malloc(size_t size) {
  allocated(size);
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  allocated(count * size);
  return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
  allocated(size);
  return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
  allocated(size);
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  allocated(size);
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
  if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
  allocated(size);
  void *memory = __libc_memalign(alignment, size);
  if (!memory) return ENOMEM;
  *result = memory;
  return 0;
}

/* System calls */

static ssize_t read_any(int file, void *bytes, size_t size, off_t offset) {
  add(PREAD, 1);
  if (!has_read) add(READERS, has_read = 1);
  if (getenv("COUNTS_PAUSE")) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  return REAL(pread64)(file, bytes, size, offset);
}

ssize_t pread(int file, void *bytes, size_t size, off_t offset) {
  return read_any(file, bytes, size, offset);
}

ssize_t pread64(int file, void *bytes, size_t size, off_t offset) {
  return read_any(file, bytes, size, offset);
}

ssize_t pwrite(int file, const void *bytes, size_t size, off_t offset) {
  add(PWRITE, 1);
  return REAL(pwrite)(file, bytes, size, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off_t offset) {
  add(PWRITE, 1);
  return REAL(pwrite64)(file, bytes, size, offset);
}

ssize_t copy_file_range(int from, off_t *source, int to, off_t *target, size_t size,
                        unsigned flags) {
  add(COPY, 1);
  return REAL(copy_file_range)(from, source, to, target, size, flags);
}

int fsync(int file) {
  add(FSYNC, 1);
  return REAL(fsync)(file);
}

int fdatasync(int file) {
  add(FSYNC, 1);
  return REAL(fdatasync)(file);
}

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset) {
  add(MMAP, 1);
  return REAL(mmap)(address, size, protection, flags, file, offset);
}

void *mmap64(void *address, size_t size, int protection, int flags, int file, off_t offset) {
  add(MMAP, 1);
  return REAL(mmap64)(address, size, protection, flags, file, offset);
}

/* Processors */

static int give_processors(size_t size, cpu_set_t *set) {
  CPU_ZERO_S(size, set);
  for (int index = 0; index < processors(); index++) CPU_SET_S(index, size, set);
  return 0;
}

int sched_getaffinity(pid_t process, size_t size, cpu_set_t *set) {
  return processors() ? give_processors(size, set) : REAL(sched_getaffinity)(process, size, set);
}

int pthread_getaffinity_np(pthread_t thread, size_t size, cpu_set_t *set) {
  return processors() ? give_processors(size, set)
                      : REAL(pthread_getaffinity_np)(thread, size, set);
}

long sysconf(int name) {
  int count = processors();
  if (count && (name == _SC_NPROCESSORS_ONLN || name == _SC_NPROCESSORS_CONF)) return count;
  return REAL(sysconf)(name);
}
