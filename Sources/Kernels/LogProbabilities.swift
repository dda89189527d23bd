/// The log probabilities of all tokens at a position, in 16 bits each, as llama-perplexity stores
/// them.
///
/// A record has a scale and the smallest number, both binary32, then a whole number u for each token:
/// ln p = scale · u + smallest, where both operations are rounded. If the number of tokens is odd, 2
/// bytes follow. All numbers are little-endian. Logits of less than the largest − 16 become that.
package enum LogProbabilities {
  /// Terms of a divergence with ln p up to this one are left out, as in llama-perplexity.
  package static let leastCounted: Float = -16

  /// The length of a record in bytes.
  package static func byteCount(tokenCount: Int) -> Int { 8 + (tokenCount + 1) / 2 * 4 }

  /// The record for a row of logits; nil if one of them is not finite.
  ///
  /// Computed in float32, as in llama-perplexity: u is (logit − smallest) · (1 / scale), rounded to
  /// the nearest whole number, of two to the even one. The sum of the exponentials is float64.
  package static func record(of logits: FloatMatrix, row: Int) -> [UInt8]? {
    let count = logits.columnCount
    var bytes = [UInt8](repeating: 0, count: byteCount(tokenCount: count))
    let sum = logits.logSumExp(row: row)
    let isFinite = logits.withRow(row) { numbers in
      var (largest, smallest) = (numbers[0], numbers[0])
      var isFinite = true
      for index in 0..<count {
        let number = numbers[index]
        isFinite = isFinite && number.isFinite
        largest = max(largest, number)
        smallest = min(smallest, number)
      }
      guard isFinite else { return false }
      smallest = max(smallest, largest - 16)
      let scale = (largest - smallest) / 65535
      let logarithm = Float(sum - Double(largest))
      store(scale.bitPattern, at: 0, of: &bytes)
      store((smallest - largest - logarithm).bitPattern, at: 4, of: &bytes)
      guard scale > 0 else { return true }
      let inverse = 1 / scale
      for index in 0..<count where numbers[index] > smallest {
        let steps = (inverse * (numbers[index] - smallest)).rounded(.toNearestOrEven)
        store(UInt16(min(steps, 65535)), at: 8 + 2 * index, of: &bytes)
      }
      return true
    }
    return isFinite ? bytes : nil
  }

  /// Writes the log probabilities of a record to a row of a matrix with a column for each token.
  ///
  /// Those up to `leastCounted` become −10000, so that their probability is 0. Returns false, and
  /// writes nothing, for a record that no logits have.
  package static func read(
    _ bytes: [UInt8], record: Int, into matrix: FloatMatrix, row: Int
  ) -> Bool {
    let start = record * byteCount(tokenCount: matrix.columnCount)
    let scale = Float(bitPattern: load(UInt32.self, at: start, of: bytes))
    let smallest = Float(bitPattern: load(UInt32.self, at: start + 4, of: bytes))
    guard scale.isFinite, scale >= 0, smallest.isFinite else { return false }
    let most = (0..<matrix.columnCount).reduce(UInt16(0)) {
      max($0, load(UInt16.self, at: start + 8 + 2 * $1, of: bytes))
    }
    // Rounding may give slightly more than 0.
    guard scale * Float(most) + smallest <= 1 else { return false }
    matrix.withRow(row) { numbers in
      for index in numbers.indices {
        let steps = load(UInt16.self, at: start + 8 + 2 * index, of: bytes)
        let number = scale * Float(steps) + smallest
        numbers[index] = number > leastCounted ? number : -10000
      }
    }
    return true
  }

  /// The log probability of a token of a record, also if it is too small to be counted.
  package static func number(of token: Int, _ bytes: [UInt8], record: Int, tokenCount: Int) -> Float
  {
    let start = record * byteCount(tokenCount: tokenCount)
    let scale = Float(bitPattern: load(UInt32.self, at: start, of: bytes))
    let smallest = Float(bitPattern: load(UInt32.self, at: start + 4, of: bytes))
    return scale * Float(load(UInt16.self, at: start + 8 + 2 * token, of: bytes)) + smallest
  }

  private static func store(
    _ value: some FixedWidthInteger & UnsignedInteger, at offset: Int, of bytes: inout [UInt8]
  ) {
    for index in 0..<value.bitWidth / 8 {
      bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
    }
  }

  private static func load<Number: FixedWidthInteger & UnsignedInteger>(
    _ type: Number.Type, at offset: Int, of bytes: [UInt8]
  ) -> Number {
    var value: Number = 0
    for index in 0..<Number.bitWidth / 8 { value |= Number(bytes[offset + index]) << (8 * index) }
    return value
  }
}
