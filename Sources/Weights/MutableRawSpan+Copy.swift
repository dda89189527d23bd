extension MutableRawSpan {
  /// Fills the span with bytes from an index on, of which there must be enough.
  mutating func copy(_ bytes: [UInt8], from first: Int) {
    precondition(bytes.count - first >= byteCount, "too few bytes")
    // In bounds by the precondition.
    unsafe withUnsafeMutableBytes { target in
      unsafe bytes.withUnsafeBytes { source in
        unsafe target.copyMemory(
          from: UnsafeRawBufferPointer(rebasing: source[first..<first + target.count]))
      }
    }
  }
}
