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

/* Asks the system to begin putting on the disk what was written; does nothing where it cannot. */
void pleat_begin_writeback(int file);

/* Waits until what the disk was asked to take of the first `end` bytes is there, and has the system
   forget it; -1 with errno when the disk did not take it. Does nothing where the system cannot. */
int pleat_forget_written(int file, int64_t end);

#endif
