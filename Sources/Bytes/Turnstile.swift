package import TensorModel

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// Lets numbered callers through one at a time, in the order of their numbers, from 0.
@safe package final class Turnstile: @unchecked Sendable {
  // The counters are read and written under `mutex` only. It and the condition are made before
  // anybody calls, stay where they are, and go with the turnstile: nobody waits in it then.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var next = 0
  private var isAbandoned = false

  /// A turnstile at which number 0 is next.
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

  /// Waits for the turn of `number`, runs `body` alone, and lets the next one through.
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

  /// Runs `body` alone, when it is true that `isReady`, without taking a turn.
  package func look<Result>(
    when isReady: () -> Bool, _ body: () -> Result
  ) throws(ModelError) -> Result {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    try wait(isReady)
    return body()
  }

  /// Makes every call fail, waiting ones too.
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
