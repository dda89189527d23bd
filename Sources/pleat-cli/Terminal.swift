#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// Access to the standard streams, the environment and signals.
enum Terminal {
  /// The signals that ask a process to stop.
  static let stopSignals = [SIGINT, SIGTERM, SIGHUP]

  /// Whether a descriptor shows colors: it is a terminal, and NO_COLOR is unset or empty.
  static func showsColor(_ descriptor: Int32) -> Bool {
    // The value has at least its terminating zero byte, and nothing changes the environment.
    isatty(descriptor) == 1 && (unsafe getenv("NO_COLOR").map { unsafe $0[0] == 0 } ?? true)
  }

  /// The value of an environment variable; nil if it is not set.
  static func variable(_ name: String) -> String? {
    // The value ends with a zero byte and is copied; nothing changes the environment.
    unsafe getenv(name).map { unsafe String(cString: $0) }
  }

  /// Whether a descriptor is a terminal.
  static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

  /// Writes bytes; returns false if not all of them could be written.
  static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      // The pointer and the count are of the same buffer.
      let count = unsafe rest.withUnsafeBytes {
        unsafe systemWrite(descriptor, $0.baseAddress, $0.count)
      }
      guard count > 0 || count < 0 && errno == EINTR else { return false }
      rest = rest.dropFirst(max(0, count))
    }
    return true
  }

  /// Whether a descriptor is closed, or is a pipe whose other end is closed.
  static func isClosed(_ descriptor: Int32) -> Bool {
    var request = pollfd(fd: descriptor, events: 0, revents: 0)
    // The count is that of the one request.
    return unsafe poll(&request, 1, 0) == 1 && request.revents & Int16(POLLERR | POLLNVAL) != 0
  }

  /// Ends the process at once.
  static func exit(_ status: Int32) -> Never { systemExit(status) }

  /// Makes writes to a closed pipe fail, instead of ending the process.
  static func ignoreClosedPipes() { ignore(SIGPIPE) }

  /// Ignores a signal, so that it does not end the process before a handler acts.
  static func ignore(_ number: Int32) { signal(number, SIG_IGN) }
}

// `Terminal.write` and `Terminal.exit` hide the functions of the same name.
private let systemWrite = unsafe write
private let systemExit = exit
