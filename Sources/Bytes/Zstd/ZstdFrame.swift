internal import CZstd
package import TensorModel

/// One zstd frame for one block of bytes, using the library's level 1.
package enum ZstdFrame {
  /// The compressed block; nil when it would not be smaller than the block itself.
  package static func compress(_ block: Span<UInt8>) -> [UInt8]? {
    // Pointers go with their own counts; zstd says how many bytes it has written.
    unsafe block.withUnsafeBytes { source in
      guard source.count > 1 else { return nil }
      var size = 0
      let frame = unsafe [UInt8](unsafeUninitializedCapacity: source.count - 1) { target, count in
        size = unsafe ZSTD_compress(
          target.baseAddress, target.count, source.baseAddress, source.count, 1)
        count = ZSTD_isError(size) == 0 ? size : 0
      }
      return frame.isEmpty ? nil : frame
    }
  }

  /// Fills `block` from a frame that must hold just that many bytes.
  ///
  /// Throws `malformed`.
  package static func decompress(
    _ frame: Span<UInt8>, into block: inout MutableRawSpan
  ) throws(ModelError) {
    let expected = block.byteCount
    // Pointers go with their own counts.
    let size = unsafe frame.withUnsafeBytes { source in
      unsafe block.withUnsafeMutableBytes { target in
        unsafe ZSTD_decompress(target.baseAddress, target.count, source.baseAddress, source.count)
      }
    }
    guard ZSTD_isError(size) == 0 else {
      // The name is a constant of zstd.
      throw unsafe ModelError(
        .malformed,
        "a zstd frame cannot be decompressed: \(String(cString: ZSTD_getErrorName(size)))")
    }
    guard size == expected else {
      throw ModelError(
        .malformed, "a zstd frame has the wrong size", expected: "\(expected) bytes",
        found: "\(size)")
    }
  }
}
