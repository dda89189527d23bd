#define _GNU_SOURCE

#include "CFiles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(__linux__)
#include <sys/vfs.h>
#elif defined(__APPLE__)
#include <sys/mount.h>
#include <sys/param.h>
#endif

ptrdiff_t pleat_copy_file_range(int source, int64_t source_offset, int target,
                                int64_t target_offset, size_t count) {
#if defined(__linux__)
  off64_t from = source_offset, to = target_offset;
  return copy_file_range(source, &from, target, &to, count, 0);
#else
  (void)source, (void)source_offset, (void)target, (void)target_offset, (void)count;
  errno = ENOSYS;
  return -1;
#endif
}

int pleat_open_direct(const char *path) {
#if defined(__linux__)
  return open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
#else
  (void)path;
  errno = EINVAL;
  return -1;
#endif
}

void pleat_begin_writeback(int file, int64_t end) {
#if defined(__linux__)
  /* An end of 0 would stand for that of the file. */
  if (end > 0) sync_file_range(file, 0, end, SYNC_FILE_RANGE_WRITE);
#else
  (void)file, (void)end;
#endif
}

int pleat_forget_written(int file, int64_t end) {
#if defined(__linux__)
  /* Report the error: fsync does not report it a second time. */
  if (sync_file_range(file, 0, end, SYNC_FILE_RANGE_WAIT_BEFORE) != 0 &&
      (errno == EIO || errno == ENOSPC || errno == EDQUOT))
    return -1;
  posix_fadvise(file, 0, end, POSIX_FADV_DONTNEED);
#else
  (void)file, (void)end;
#endif
  return 0;
}

int pleat_is_local(const char *path) {
  struct statfs status;
  if (statfs(path, &status) != 0) return 0;
#if defined(__linux__)
  switch ((uint32_t)status.f_type) {
    /* statfs(2) lists these numbers. */
    case 0xEF53:     /* ext2, ext3 and ext4 */
    case 0x58465342: /* xfs */
    case 0x9123683E: /* btrfs */
    case 0xF2F52010: /* f2fs */
    case 0x01021994: /* tmpfs */
    case 0x794C7630: /* overlayfs */ return 1;
    default: return 0;
  }
#else
  return (status.f_flags & MNT_LOCAL) != 0;
#endif
}

void pleat_return_freed_memory(void) {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

int pleat_exchange(const char *left, const char *right) {
#if defined(__linux__) && defined(RENAME_EXCHANGE)
  return renameat2(AT_FDCWD, left, AT_FDCWD, right, RENAME_EXCHANGE);
#elif defined(__APPLE__)
  return renamex_np(left, right, RENAME_SWAP);
#else
  (void)left, (void)right;
  errno = ENOSYS;
  return -1;
#endif
}
