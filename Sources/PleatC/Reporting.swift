internal import Bytes
internal import CPleat
internal import Inference

/// A result that the memory of a caller is too small for.
struct Shortage {
  /// What the result consists of.
  var items: String
  /// The number of items of the result.
  var count: Int
  /// The number of items that fit.
  var capacity: Int
}

/// Calls the body of a function for C, and reports how it ended.
///
/// - Parameters:
///   - error: Where the caller wants the error; nil for nowhere.
///   - body: What the function does; nil is success.
/// - Returns: The status.
func reporting(
  to error: UnsafeMutablePointer<pleat_error>?, _ body: () throws(ModelError) -> Shortage?
) -> pleat_status {
  let status: pleat_status
  var message = ""
  do throws(ModelError) {
    let shortage = try body()
    status = shortage == nil ? PLEAT_OK : PLEAT_TOO_SMALL
    if let shortage {
      message =
        "the memory for \(shortage.items) is too small, expected room for \(shortage.count), "
        + "found room for \(shortage.capacity)"
    }
  } catch {
    status = error.kind.status
    message = error.description.escaped
  }
  // The caller promises that there is an error, or NULL.
  if let error = unsafe error { unsafe write(status, message, to: error) }
  return status
}

/// Opens an object, and gives the caller its handle.
///
/// - Parameters:
///   - name: The name of the argument for the handle.
///   - handle: Where the caller wants it.
///   - error: Where the caller wants the error; nil for nowhere.
///   - open: Opens the object.
/// - Returns: The status.
func opening(
  _ name: String, _ handle: UnsafeMutablePointer<OpaquePointer?>?,
  to error: UnsafeMutablePointer<pleat_error>?,
  _ open: () throws(ModelError) -> HandledObject
) -> pleat_status {
  unsafe reporting(to: error) { () throws(ModelError) in
    guard let handle = unsafe handle else { throw .isNull(name) }
    let opened = try open()
    // The caller promises that there is room for a handle.
    unsafe handle.pointee = Handles.add(opened)
    return nil
  }
}

extension ModelError.Kind {
  fileprivate var status: pleat_status {
    switch self {
    case .io: PLEAT_IO
    case .malformed: PLEAT_MALFORMED
    case .unsupported: PLEAT_UNSUPPORTED
    case .mismatch: PLEAT_MISMATCH
    case .limit: PLEAT_LIMIT
    case .usage: PLEAT_USAGE
    case .interrupted: PLEAT_INTERRUPTED
    }
  }
}

/// Writes an error, with as many whole characters of the message as fit before a 0.
private func write(
  _ status: pleat_status, _ message: String, to error: UnsafeMutablePointer<pleat_error>
) {
  unsafe error.pointee.status = status
  unsafe withUnsafeMutableBytes(of: &error.pointee.message) { memory in
    var count = 0
    for scalar in message.unicodeScalars {
      let bytes = scalar.utf8
      guard count + bytes.count < memory.count else { break }
      for byte in bytes {
        unsafe memory[count] = byte
        count += 1
      }
    }
    unsafe memory[count] = 0
  }
}
