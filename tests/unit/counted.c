/* SPDX-License-Identifier: BSD-2-Clause */
/* --wrap brings the calls here. */
#include "counted.h"
#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>

_Atomic unsigned counted_locks, counted_shared, counted_allocations;

int __real_pthread_mutex_lock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
    counted_locks++;
    return __real_pthread_mutex_lock(lock);
}

int __real_pthread_spin_lock(pthread_spinlock_t *lock);
int __wrap_pthread_spin_lock(pthread_spinlock_t *lock);
int __wrap_pthread_spin_lock(pthread_spinlock_t *lock)
{
    counted_locks++;
    return __real_pthread_spin_lock(lock);
}

int __real_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    counted_locks++;
    return __real_pthread_rwlock_wrlock(lock);
}

int __real_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    counted_shared++;
    return __real_pthread_rwlock_rdlock(lock);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    counted_allocations++;
    return __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    counted_allocations++;
    return __real_calloc(count, size);
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    counted_allocations++;
    return __real_aligned_alloc(alignment, size);
}

void *__real_secret_alloc(size_t size);
void *__wrap_secret_alloc(size_t size);
void *__wrap_secret_alloc(size_t size)
{
    counted_allocations++;
    return __real_secret_alloc(size);
}

void *__real_mmap(void *at, size_t size, int access, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int access, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int access, int flags, int fd, off_t offset)
{
    counted_allocations++;
    return __real_mmap(at, size, access, flags, fd, offset);
}
