/* System calls that Swift's modules of the C library leave out. */
#ifndef PLEAT_CFILES_H
#define PLEAT_CFILES_H

#include <stddef.h>
#include <stdint.h>

/* Copies bytes from one file to another inside the kernel, which may share them instead. Returns
   how many, fewer than asked for as well, or -1 with errno, ENOSYS where the system has no such
   call. */
ptrdiff_t pleat_copy_file_range(int source, int64_t source_offset, int target,
                                int64_t target_offset, size_t count);

/* Lets two folders change places at once; -1 with errno where that is not possible. */
int pleat_exchange(const char *left, const char *right);

/* Opens a file for writing past the cache, where pages that are written so and pages of the same file
   that are cached do not wait for each other; -1 elsewhere. */
int pleat_open_uncached(const char *path);

/* Asks the system to begin putting on the disk what was written; does nothing where it cannot. */
void pleat_begin_writeback(int file);

#endif
