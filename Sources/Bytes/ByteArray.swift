extension [UInt8] {
  /// Lets `body` change a part of the bytes, in place.
  package mutating func change<Failure: Error>(
    _ range: Range<Int>, _ body: (inout MutableRawSpan) throws(Failure) -> Void
  ) throws(Failure) {
    try changeElements(range) { (part) throws(Failure) in
      // Any bits are a number of one byte.
      var bytes = unsafe part.mutableBytes
      try body(&bytes)
    }
  }

  /// Cuts bytes off, or adds zeros, in the memory that the array has, where that is enough.
  package mutating func resize(to count: Int) {
    if count <= self.count {
      removeLast(self.count - count)
    } else {
      append(addingCapacity: count - self.count) { $0.append(repeating: 0, count: $0.freeCapacity) }
    }
  }

  /// Adds the bytes of an integer, the least significant first.
  package mutating func append<Value: FixedWidthInteger>(littleEndian value: Value) {
    // All bytes of an integer are its own, and are copied at once.
    unsafe Swift.withUnsafeBytes(of: value.littleEndian) { unsafe append(contentsOf: $0) }
  }
}

extension Array where Element: BitwiseCopyable {
  /// Lets `body` change a part of the elements, in place.
  package mutating func changeElements<Failure: Error>(
    _ range: Range<Int>, _ body: (inout MutableSpan<Element>) throws(Failure) -> Void
  ) throws(Failure) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "the part is in the array")
    // In bounds by the precondition; a span cannot leave `body`.
    try unsafe withUnsafeMutableBufferPointer { (buffer) throws(Failure) in
      var part = unsafe UnsafeMutableBufferPointer(rebasing: buffer[range]).mutableSpan
      try body(&part)
    }
  }
}
