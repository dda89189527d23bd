/* System calls that the Swift modules of the C library do not offer. */
#ifndef PLEAT_CFILES_H
#define PLEAT_CFILES_H

#include <stddef.h>
#include <stdint.h>

/* Copies bytes from one file to another inside the kernel, which may share the blocks instead.
   Returns the number of bytes copied, which may be less than `count`, or -1 with errno. errno is
   ENOSYS where the system has no such call. */
ptrdiff_t pleat_copy_file_range(int source, int64_t source_offset, int target,
                                int64_t target_offset, size_t count);

/* Opens a file for reads that bypass the page cache. Their offsets, lengths and addresses must be
   multiples of the disk's blocks. Returns the descriptor, or -1 with errno: EINVAL if the file system
   has no such reads. */
int pleat_open_direct(const char *path);

/* Exchanges two folders atomically. Returns -1 with errno if that is not possible. */
int pleat_exchange(const char *left, const char *right);

/* Asks the system to start writing the dirty pages of the first `end` bytes to the disk. Does nothing
   where the system has no such call. */
void pleat_begin_writeback(int file, int64_t end);

/* Waits until the writes that were started for the first `end` bytes are done, and drops these
   bytes from the page cache. Returns -1 with errno if the disk could not take them. Does nothing
   where the system has no such call. */
int pleat_forget_written(int file, int64_t end);

/* Whether a file system is certainly on this machine only, by the path of anything in it. Network
   file systems, those of user processes and unknown ones are not. */
int pleat_is_local(const char *path);

/* Gives memory that was freed back to the system. Does nothing where the C library has no such
   call. */
void pleat_return_freed_memory(void);

#endif
