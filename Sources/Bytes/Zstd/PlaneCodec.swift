package import TensorModel

/// Compresses a block of bytes with zstd, as one plane or as two byte planes.
///
/// For 16-bit numbers the low bytes form one plane and the high bytes another. The high bytes (sign
/// and exponent) compress well, the low bytes do not. Each plane becomes a zstd frame. A plane that
/// would not shrink is stored as it is.
package struct PlaneCodec: Sendable, Hashable {
  /// The number of planes: 1, or 2 for 16-bit numbers.
  package let planeCount: Int

  /// Creates a codec; `planeCount` is 1 or 2.
  package init(planeCount: Int) {
    precondition(planeCount == 1 || planeCount == 2)
    self.planeCount = planeCount
  }

  /// An encoded block.
  package struct Encoded {
    /// The stored planes, one after another.
    package var bytes: [UInt8]
    /// The stored size of each plane in bytes.
    package var sizes: [Int]
  }

  /// Encodes a block; the result is never larger than the block.
  package func encode(_ block: [UInt8], with compressor: ZstdCompressor) -> Encoded {
    var stored = [UInt8](repeating: 0, count: block.count)
    var (sizes, end): ([Int], Int) = ([], 0)
    for plane in planes(of: block) {
      let space = end..<end + plane.count
      var size: Int?
      stored.change(space) { size = compressor.compress(plane.span, into: &$0) }
      if size == nil { stored.replaceSubrange(space, with: plane) }
      sizes.append(size ?? plane.count)
      end += size ?? plane.count
    }
    stored.removeLast(stored.count - end)
    return Encoded(bytes: stored, sizes: sizes)
  }

  /// Decodes the stored planes of a block.
  ///
  /// - Parameters:
  ///   - stored: The stored planes, one after another.
  ///   - sizes: The stored size of each plane in bytes.
  ///   - block: Receives the block; it must have the length of the block.
  /// - Throws: `malformed`.
  package func decode(
    _ stored: [UInt8], sizes: [Int], into block: inout [UInt8]
  ) throws(ModelError) {
    let length = block.count / planeCount
    var start = 0
    for (plane, size) in sizes.enumerated() {
      let source = stored[start..<start + size]
      start += size
      if size == length {
        place(source, plane, in: &block)
      } else {
        var bytes = [UInt8](repeating: 0, count: length)
        try bytes.change(0..<length) { (bytes) throws(ModelError) in
          try ZstdFrame.decompress(source.span, into: &bytes)
        }
        place(bytes[...], plane, in: &block)
      }
    }
  }

  private func planes(of block: [UInt8]) -> [[UInt8]] {
    guard planeCount == 2 else { return [block] }
    let length = block.count / 2
    return (0..<2).map { plane in
      // In bounds: 2 · index + plane < block.count. Every element of the plane is initialized.
      unsafe [UInt8](unsafeUninitializedCapacity: length) { target, count in
        unsafe block.withUnsafeBufferPointer { source in
          for index in 0..<length { unsafe target[index] = source[2 * index + plane] }
        }
        count = length
      }
    }
  }

  private func place(_ source: ArraySlice<UInt8>, _ plane: Int, in block: inout [UInt8]) {
    precondition(planeCount * source.count <= block.count, "the plane exceeds the block")
    // In bounds by the precondition, since plane < planeCount.
    unsafe block.withUnsafeMutableBufferPointer { target in
      unsafe source.withUnsafeBufferPointer { source in
        for index in 0..<source.count { unsafe target[planeCount * index + plane] = source[index] }
      }
    }
  }
}
