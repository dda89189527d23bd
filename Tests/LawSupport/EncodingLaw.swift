package import TensorModel
internal import Weights

/// What holds of every encoding that is decoded without groups: pieces of whole blocks decode to the
/// numbers that all bytes decode to, wherever they lie in a buffer.
package enum EncodingLaw {
  /// Checks the law for bytes of an encoding.
  ///
  /// - Parameters:
  ///   - encoding: The encoding; Pleat decodes it.
  ///   - bytes: Whole blocks of it.
  /// - Throws: What does not hold.
  package static func check(_ encoding: Encoding, _ bytes: [UInt8]) throws(LawViolation) {
    guard let decoder = RowDecoder(encoding) else {
      throw LawViolation("\(encoding) is not decoded")
    }
    let (elementCount, byteCount) = encoding.block
    try require(
      byteCount > 0 && bytes.count % byteCount == 0, "\(bytes.count) bytes are not whole blocks")
    let blockCount = bytes.count / byteCount
    let whole = decode(decoder, bytes[...], blockCount * elementCount)
    for length in [1, 2, 5] {
      for first in stride(from: 0, to: blockCount, by: length) {
        let last = min(blockCount, first + length)
        let piece = decode(
          decoder, bytes[first * byteCount..<last * byteCount], (last - first) * elementCount)
        try require(
          piece.bits == Array(whole[first * elementCount..<last * elementCount]).bits,
          "blocks \(first)..<\(last) of \(encoding) decode otherwise alone")
      }
    }
  }

  private static func decode(
    _ decoder: RowDecoder, _ bytes: ArraySlice<UInt8>, _ count: Int
  ) -> [Float] {
    var values = [Float](repeating: .nan, count: count)
    decoder.decode(bytes, into: &values)
    return values
  }
}
