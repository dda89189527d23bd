internal import Inference

extension ModelError {
  /// The error for an argument that must not be NULL.
  static func isNull(_ argument: String) -> ModelError {
    ModelError(
      .usage, "an argument is missing", tensor: argument, expected: "an address", found: "NULL")
  }
}

/// Throws `usage` for a size that no memory has: one that is negative in Swift.
func checkSize(_ size: Int, _ argument: String) throws(ModelError) {
  guard size >= 0 else {
    throw ModelError(
      .usage, "a size is too large", tensor: argument, expected: "at most \(Int.max)",
      found: "\(UInt(bitPattern: size))")
  }
}

/// A copy of the bytes of a caller.
///
/// Throws `usage` if there are none, but some are stated.
func bytes(of text: UnsafePointer<CChar>?, count: Int) throws(ModelError) -> [UInt8] {
  try checkSize(count, "byte_count")
  guard count > 0 else { return [] }
  guard let text = unsafe text else { throw .isNull("text") }
  // The caller promises that there are as many bytes.
  return unsafe Array(UnsafeRawBufferPointer(start: text, count: count))
}

/// Copies a result to the memory of a caller, if it fits.
///
/// Throws `usage` if there is no memory, but some is stated, or no place for the number of items.
func copy<Item>(
  _ result: [Item], _ items: String, to memory: UnsafeMutablePointer<Item>?, _ capacity: Int,
  _ count: UnsafeMutablePointer<Int>?
) throws(ModelError) -> Shortage? {
  try checkSize(capacity, "capacity")
  guard let count = unsafe count else { throw .isNull("count") }
  guard unsafe capacity == 0 || memory != nil else { throw .isNull(items) }
  unsafe count.pointee = result.count
  guard result.count <= capacity else {
    return Shortage(items: items, count: result.count, capacity: capacity)
  }
  // There is room for `capacity` items, as the caller states.
  for (index, item) in result.enumerated() { unsafe memory?[index] = item }
  return nil
}
