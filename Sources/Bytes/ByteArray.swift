extension [UInt8] {
  /// Lets `body` change a part of the bytes, in place.
  package mutating func change<Failure: Error>(
    _ range: Range<Int>, _ body: (inout MutableRawSpan) throws(Failure) -> Void
  ) throws(Failure) {
    var span = mutableSpan
    try span.withUnsafeMutableBytes { (buffer) throws(Failure) in
      var part = UnsafeMutableRawBufferPointer(rebasing: buffer[range]).mutableBytes
      try body(&part)
    }
  }

  /// Adds the bytes of an integer, the least significant first.
  package mutating func append<Value: FixedWidthInteger>(littleEndian value: Value) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }
}
