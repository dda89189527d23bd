internal import CZstd
package import TensorModel

/// One zstd frame for one block of bytes.
package enum ZstdFrame {
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
