package import TensorModel

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// Lets numbered callers through one at a time, in the order of their numbers, from 0.
package final class Turnstile: @unchecked Sendable {
  // The counters are read and written under `mutex` only.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var next = 0
  private var isAbandoned = false

  /// A turnstile at which number 0 is next.
  package init() {
    mutex = .allocate(capacity: 1)
    condition = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Waits for the turn of `number`, runs `body` alone, and lets the next one through.
  ///
  /// Throws `interrupted` when the turnstile is abandoned.
  package func pass<Result>(
    _ number: Int, _ body: () throws(ModelError) -> Result
  ) throws(ModelError) -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    try wait { next == number }
    let result = try body()
    next += 1
    pthread_cond_broadcast(condition)
    return result
  }

  /// Runs `body` alone, when it is true that `isReady`, without taking a turn.
  package func look<Result>(
    when isReady: () -> Bool, _ body: () -> Result
  ) throws(ModelError) -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    try wait(isReady)
    return body()
  }

  /// Makes every call fail, waiting ones too.
  package func abandon() {
    pthread_mutex_lock(mutex)
    isAbandoned = true
    pthread_cond_broadcast(condition)
    pthread_mutex_unlock(mutex)
  }

  private func wait(_ isReady: () -> Bool) throws(ModelError) {
    while !isAbandoned && !isReady() { pthread_cond_wait(condition, mutex) }
    if isAbandoned { throw ModelError(.interrupted, "stopped") }
  }
}
