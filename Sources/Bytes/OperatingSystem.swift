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
  /// The error of the system call that has just failed; reads `errno`.
  static func system(_ action: String, _ path: String, hint: String? = nil) -> ModelError {
    let number = errno
    return ModelError(
      .io, "cannot \(action): \(Errno(rawValue: number).description)", file: path,
      hint: hint ?? (number == ENOSPC ? "free some space, or write to another disk" : nil))
  }
}

/// Repeats a call for as long as a signal interrupts it.
func retryingInterrupts(_ call: () -> Int) -> Int {
  while true {
    let result = call()
    if result >= 0 || errno != EINTR { return result }
  }
}
