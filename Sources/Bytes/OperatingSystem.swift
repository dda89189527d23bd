internal import SystemPackage
internal import TensorModel

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

extension ModelError {
  /// The failure of the system call that has just returned; reads `errno`.
  static func system(_ action: String, _ path: String, hint: String? = nil) -> ModelError {
    let number = errno
    return ModelError(
      .io, "cannot \(action): \(Errno(rawValue: number).description)", file: path,
      hint: hint ?? (number == ENOSPC ? "free some space, or write to another disk" : nil))
  }
}

/// Calls again while the call is interrupted by a signal.
func retryingInterrupts(_ call: () -> Int) -> Int {
  while true {
    let result = call()
    if result >= 0 || errno != EINTR { return result }
  }
}
