import Kernels
import TestSupport

extension BlockType {
  func encodeRows(
    _ values: [Float], columnCount: Int, importance: [Float] = [], on set: InstructionSet
  ) -> Result<[UInt8], GroupFault> {
    rows(values.count) { bytes throws(GroupFault) in
      try encodeRows(
        values.span, columnCount: columnCount, importance: importance.span, into: &bytes, on: set)
    }
  }

  func searchRows(
    _ values: [Float], columnCount: Int, importance: [Float] = [], rounds: Int = 2,
    on set: InstructionSet
  ) -> Result<[UInt8], GroupFault> {
    rows(values.count) { bytes throws(GroupFault) in
      try searchRows(
        values.span, columnCount: columnCount, importance: importance.span, rounds: rounds,
        into: &bytes, on: set)
    }
  }

  private func rows(
    _ count: Int, _ encode: (inout MutableRawSpan) throws(GroupFault) -> Void
  ) -> Result<[UInt8], GroupFault> {
    var bytes = [UInt8](repeating: 0xaa, count: count / elementCount * byteCount)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    do throws(GroupFault) {
      try encode(&raw)
      return .success(bytes)
    } catch {
      return .failure(error)
    }
  }
}

/// Rows of weights that cover every case of the arithmetic of the block encoders.
enum SampleRows {
  /// The rows, one after another.
  static func values(columnCount: Int, seed: UInt64) -> [Float] {
    var random = Seeded(seed)
    var values: [Float] = []
    func row(_ value: (Int) -> Float) { values += (0..<columnCount).map(value) }
    for scale: Float in [1, 0.02, 1e-3, 1000, 1e-6, 1e-9, 1e-20, 1e-37, 0x1p-130, 0x1p-146] {
      values += random.weights(columnCount, scale: scale)
    }
    for offset: Float in [1, -1, 1000, -1000] {  // A narrow range far from zero.
      values += random.weights(columnCount, scale: 1e-3).map { $0 + offset }
    }
    values += random.weights(columnCount).map(\.magnitude)
    values += random.weights(columnCount).map { -$0.magnitude }
    for constant: Float in [0, -0.0, 1, -1, 0.1, -1000, 1e-30] { row { _ in constant } }
    row { $0 % 2 == 0 ? 0 : -0.0 }
    row { Float($0 / 16 % 5) - 2 }  // Constant sub-blocks, and some that are zero.
    row { $0 % 3 == 0 ? -1 : $0 % 3 == 1 ? 0 : 1 }
    row { _ in Float(Int.random(in: -64...64, using: &random)) / 64 }  // Many ties.
    row { _ in Float(Int.random(in: -30...30, using: &random)) / 2 }
    row { _ in random.below(40) == 0 ? 0.5 : 0 }
    for exponents in [-9...2, -44...2] {  // Sub-blocks of mixed size.
      var scale: Float = 1
      let some = random.weights(columnCount)
      row { column in
        if column % 16 == 0 {
          scale = Float(
            sign: .plus, exponent: Int.random(in: exponents, using: &random) * 3, significand: 1)
        }
        return some[column] * scale
      }
    }
    return values
  }

  /// Weights of columns, of several kinds; the last is constant.
  static func importances(columnCount: Int, seed: UInt64) -> [[Float]] {
    var random = Seeded(seed)
    func columns(_ value: () -> Float) -> [Float] { (0..<columnCount).map { _ in value() } }
    func power(_ exponents: ClosedRange<Int>) -> Float {
      Float(
        sign: .plus, exponent: Int.random(in: exponents, using: &random),
        significand: Float.random(in: 1..<2, using: &random))
    }
    return [
      columns { Float.random(in: 0...1, using: &random) },
      columns { power(-27...13) },
      columns { power(-100...60) },
      columns { random.below(3) == 0 ? 0 : Float.random(in: 0...1, using: &random) },
      columns { random.below(25) == 0 ? 1 : 0 },
      columns { random.below(20) == 0 ? 1e6 : 1e-12 },
      columns { 0 },
      columns { 1 },
    ]
  }
}
