#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// What the command needs of the system: its streams, its environment and its signals.
enum Terminal {
  /// The signals that ask a process to stop.
  static let stopSignals = [SIGINT, SIGTERM, SIGHUP]

  /// Whether a descriptor shows colours: it is a terminal whose user did not forbid them.
  static func showsColor(_ descriptor: Int32) -> Bool {
    // A variable ends with a zero, if not with more, and nothing here changes the environment.
    isatty(descriptor) == 1 && (unsafe getenv("NO_COLOR").map { unsafe $0[0] == 0 } ?? true)
  }

  /// Whether a descriptor is a terminal.
  static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

  /// Writes bytes; false when they could not be written.
  static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      // A pointer and its own count.
      let count = unsafe rest.withUnsafeBytes {
        unsafe systemWrite(descriptor, $0.baseAddress, $0.count)
      }
      guard count > 0 || count < 0 && errno == EINTR else { return false }
      rest = rest.dropFirst(max(0, count))
    }
    return true
  }

  /// Whether nobody reads what is written to a descriptor any more: the other end of a pipe is closed.
  static func isClosed(_ descriptor: Int32) -> Bool {
    var question = pollfd(fd: descriptor, events: 0, revents: 0)
    // One question, as the count says.
    return unsafe poll(&question, 1, 0) == 1 && question.revents & Int16(POLLERR | POLLNVAL) != 0
  }

  /// Ends the process at once.
  static func exit(_ status: Int32) -> Never { systemExit(status) }

  /// Lets writing to a pipe that nobody reads fail, instead of ending the process.
  static func ignoreClosedPipes() { ignore(SIGPIPE) }

  /// Keeps a signal from ending the process, so that a handler can.
  static func ignore(_ number: Int32) { signal(number, SIG_IGN) }
}

// Under another name, since `Terminal.write` hides the function.
private let systemWrite = unsafe write
private let systemExit = exit
