import Kernels

/// An encoder of one block type, value by value.
protocol RowsTwin {
  var type: BlockType { get }

  /// The bytes of a block of values with their importance, which may be empty, in a row with a mean
  /// square; nil if a parameter overflows.
  func block(_ x: [Float], _ importance: [Float], _ square: Float) -> [UInt8]?
}

extension RowsTwin {
  func encode(
    _ values: [Float], columnCount: Int, importance: [Float]
  ) -> Result<[UInt8], GroupFault> {
    var bytes: [UInt8] = []
    for row in stride(from: 0, to: values.count, by: columnCount) {
      let square = squares(values[row..<(row + columnCount)]) / Float(columnCount)
      for column in stride(from: 0, to: columnCount, by: type.elementCount) {
        let index = (row + column) / type.elementCount
        let x = Array(values[(row + column)...].prefix(type.elementCount))
        guard x.allSatisfy(\.isFinite) else {
          return .failure(GroupFault(kind: .nonFiniteValue, group: index))
        }
        let weights = Array(importance.dropFirst(column).prefix(type.elementCount))
        guard let encoded = block(x, weights, square) else {
          return .failure(GroupFault(kind: .parameterOverflow, group: index))
        }
        bytes += encoded
      }
    }
    return .success(bytes)
  }

  func squares(_ values: some Collection<Float>) -> Float {
    var sum: Float = 0
    for x in values { sum += x * x }
    return sum
  }

  /// The nearest integer as the low 23 bits of a sum, which wraps from 2^22 on.
  func nearest(_ value: Float) -> Int {
    Int((value + 12_582_912).bitPattern & 0x7f_ffff) - 0x40_0000
  }

  /// The first value of largest magnitude, or 0.
  func farthest(_ values: [Float]) -> Float {
    var found: Float = 0
    for x in values where x.magnitude > found.magnitude { found = x }
    return found
  }

  /// The bytes of a half; nil if it is not finite.
  func half(_ value: Float) -> [UInt8]? {
    let half = HalfTwin.half(of: value)
    return half & 0x7c00 == 0x7c00 ? nil : [UInt8(truncatingIfNeeded: half), UInt8(half >> 8)]
  }

  func float(_ half: [UInt8]) -> Float {
    Float(bitPattern: HalfTwin.float(ofHalf: UInt16(half[0]) | UInt16(half[1]) << 8))
  }
}
