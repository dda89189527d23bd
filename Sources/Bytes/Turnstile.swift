package import TensorModel

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// Runs numbered callers one at a time, in the order of their numbers, from 0.
@safe package final class Turnstile: @unchecked Sendable {
  // The counters are accessed only while `mutex` is locked. The mutex and the condition have fixed
  // addresses. They live from `init` to `deinit`, and no thread can wait on them in either.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var next = 0
  private var isAbandoned = false

  /// Creates a turnstile that runs number 0 first.
  package init() {
    unsafe mutex = .allocate(capacity: 1)
    unsafe condition = .allocate(capacity: 1)
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(condition, nil)
  }

  deinit {
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }

  /// Waits for the turn of `number`, runs `body` under the lock, and starts the next turn.
  ///
  /// Throws `interrupted` when the turnstile is abandoned.
  package func pass<Result>(
    _ number: Int, _ body: () throws(ModelError) -> Result
  ) throws(ModelError) -> Result {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    try wait { next == number }
    let result = try body()
    next += 1
    unsafe pthread_cond_broadcast(condition)
    return result
  }

  /// Waits until `isReady` returns true, and runs `body` under the lock, without taking a turn.
  ///
  /// Throws `interrupted` when the turnstile is abandoned.
  package func look<Result>(
    when isReady: () -> Bool, _ body: () -> Result
  ) throws(ModelError) -> Result {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    try wait(isReady)
    return body()
  }

  /// Makes all waiting and later calls throw `interrupted`.
  package func abandon() {
    unsafe pthread_mutex_lock(mutex)
    isAbandoned = true
    unsafe pthread_cond_broadcast(condition)
    unsafe pthread_mutex_unlock(mutex)
  }

  private func wait(_ isReady: () -> Bool) throws(ModelError) {
    while !isAbandoned && !isReady() { unsafe pthread_cond_wait(condition, mutex) }
    if isAbandoned { throw ModelError(.interrupted, "stopped") }
  }
}
