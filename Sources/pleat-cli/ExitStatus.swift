internal import Pleat

/// The exit status of the process, with the numbers of sysexits where they fit.
enum ExitStatus: Int32, Error {
  case success = 0
  /// The command worked, but a check of `verify` or `inspect --check` failed.
  case negative = 1
  case usage = 64
  case badInput = 65
  case unsupported = 69
  case inputOutput = 74
  case interrupted = 130

  /// The status for a kind of error.
  init(_ kind: ModelError.Kind) {
    switch kind {
    case .usage: self = .usage
    case .malformed, .limit, .mismatch: self = .badInput
    case .unsupported: self = .unsupported
    case .io: self = .inputOutput
    case .interrupted: self = .interrupted
    }
  }
}
