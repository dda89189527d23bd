extension [UInt8] {
  /// Calls `body` with a mutable view of a range of the bytes, which it changes in place.
  package mutating func change<Failure: Error>(
    _ range: Range<Int>, _ body: (inout MutableRawSpan) throws(Failure) -> Void
  ) throws(Failure) {
    try changeElements(range) { (part) throws(Failure) in
      // Safety: every bit pattern is a valid byte.
      var bytes = unsafe part.mutableBytes
      try body(&bytes)
    }
  }

  /// Truncates the array to `count` bytes, or appends zeros, and keeps the memory if it suffices.
  package mutating func resize(to count: Int) {
    if count <= self.count {
      removeLast(self.count - count)
    } else {
      append(addingCapacity: count - self.count) { $0.append(repeating: 0, count: $0.freeCapacity) }
    }
  }

  /// Appends an integer in little-endian byte order.
  package mutating func append<Value: FixedWidthInteger>(littleEndian value: Value) {
    // Safety: an integer has no padding, and its bytes are copied during the call.
    unsafe Swift.withUnsafeBytes(of: value.littleEndian) { unsafe append(contentsOf: $0) }
  }
}

extension Array where Element: BitwiseCopyable {
  /// Calls `body` with a mutable view of a range of the elements, which it changes in place.
  package mutating func changeElements<Failure: Error>(
    _ range: Range<Int>, _ body: (inout MutableSpan<Element>) throws(Failure) -> Void
  ) throws(Failure) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "the range exceeds the array")
    // In bounds by the precondition. The span cannot escape from `body`.
    try unsafe withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      var part = unsafe UnsafeMutableBufferPointer(rebasing: buffer[range]).mutableSpan
      try body(&part)
    }
  }
}
