internal import CZstd
package import TensorModel

/// Decompresses zstd frames of one block each.
package enum ZstdFrame {
  /// Decompresses a frame into `block`, which it must fill exactly.
  ///
  /// Throws `malformed`.
  package static func decompress(
    _ frame: Span<UInt8>, into block: inout MutableRawSpan
  ) throws(ModelError) {
    let expected = block.byteCount
    // In bounds: each pointer is passed with its own count.
    let size = unsafe frame.withUnsafeBytes { source in
      unsafe block.withUnsafeMutableBytes { target in
        unsafe ZSTD_decompress(target.baseAddress, target.count, source.baseAddress, source.count)
      }
    }
    guard ZSTD_isError(size) == 0 else {
      // Safety: the error name is a constant string of zstd.
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
