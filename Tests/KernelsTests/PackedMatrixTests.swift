import Kernels
import TensorModel
import TestSupport
import Testing

/// Products of packed weights with one vector: those of the decoded weights, bit for bit.
@Suite struct PackedMatrixTests {
  private static let sizes = [1, 7, 31, 32, 33, 64, 81, 128, 145]

  /// The product of row 1 of `x` with the rows of decoded weights.
  private func expected(
    _ x: FloatMatrix, _ weights: [Float], rowCount: Int, on set: InstructionSet
  ) -> [Float] {
    let out = FloatMatrix(rowCount: 1, columnCount: rowCount)
    PackedRows(x, rows: 1..<2, columns: 0..<x.columnCount, on: set)
      .multiply(weights.span, rowCount: rowCount, into: out, column: 0)
    return out.row(0)
  }

  /// The same of a packed matrix, multiplied at once or part by part.
  private func product(
    _ x: FloatMatrix, _ matrix: PackedMatrix, on set: InstructionSet, blocks: Int = 100
  ) -> [Float] {
    let out = FloatMatrix(rowCount: 3, columnCount: matrix.rowCount + 2)
    for first in stride(
      from: 0, to: matrix.rowCount, by: blocks * PackedMatrix.rowsPerBlock)
    {
      let rows = first..<min(first + blocks * PackedMatrix.rowsPerBlock, matrix.rowCount)
      matrix.multiply(x, row: 1, rows: rows, into: out, row: 2, column: 1 + first, on: set)
    }
    // Nothing else is written.
    #expect((out.row(0) + out.row(1)).allSatisfy { $0 == 0 })
    #expect(out[2, 0] == 0 && out[2, matrix.rowCount + 1] == 0)
    return Array(out.row(2).dropFirst().dropLast())
  }

  private func vector(_ columns: Int, _ random: inout Seeded) -> FloatMatrix {
    let x = FloatMatrix(rowCount: 2, columnCount: columns)
    x.setRow(1, to: random.weights(columns)[...])
    return x
  }

  private func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

  @Test(
    "groups of every width, offset and type of parameters (seed 311)",
    arguments: InstructionSet.available, 2...8)
  func groups(set: InstructionSet, bits width: Int) throws {
    var random = Seeded(311 + UInt64(width))
    let formats: [FloatFormat] = [.float16, .bfloat16, .float32]
    let offsets: [PackedMatrix.Groups.Offset] = [.bias, .zeroPoint, .centered(5)]
    for (format, offset) in formats.flatMap({ format in offsets.map { (format, $0) } }) {
      for (size, count) in [(16, 3), (32, 2), (64, 9)] {
        let groups = try #require(
          PackedMatrix.Groups(bits: width, size: size, offset, parameters: format))
        for rowCount in Self.sizes {
          let kernel = GroupKernel(groupSize: size, bits: width, parameters: format)
          let codes = (0..<rowCount * size * count).map { _ in
            UInt8.random(in: 0...UInt8((1 << width) - 1), using: &random)
          }
          func parameters() -> [Float] {
            random.weights(rowCount * count).map { $0.rounded(to: format) }
          }
          let scales = parameters()
          var others = parameters()
          var weights: [Float] = Array(repeating: 0, count: codes.count)
          var target = weights.mutableSpan
          switch offset {
          case .bias:
            kernel.decode(
              codes.span, scales: scales.span, biases: others.span, into: &target, on: set)
          case .zeroPoint:
            others = others.map { ($0 * 40).rounded() }.map { $0.rounded(to: format) }
            kernel.decode(
              codes.span, scales: scales.span, zeros: others.span, into: &target, on: set)
          case .centered(let zero):
            kernel.decode(codes.span, scales: scales.span, zero: zero, into: &target, on: set)
          }
          let x = vector(size * count, &random)
          let matrix = PackedMatrix(
            .groups(groups), rowCount: rowCount, columnCount: size * count)
          let isFinite = matrix.setRows(
            from: 0, codes: codes.span, scales: scales.span, offsets: others.span)
          #expect(isFinite)
          #expect(
            bits(product(x, matrix, on: set))
              == bits(expected(x, weights, rowCount: rowCount, on: set)),
            "\(format) \(offset) groups of \(size), \(rowCount) rows")
        }
      }
    }
  }

  @Test("numbers of every format (seed 312)", arguments: InstructionSet.available)
  func numbers(set: InstructionSet) {
    var random = Seeded(312)
    for format in [FloatFormat.float16, .bfloat16, .float32] {
      for (rowCount, columns) in Self.sizes.flatMap({ rows in [1, 9, 300].map { (rows, $0) } }) {
        let weights = random.weights(rowCount * columns).map { $0.rounded(to: format) }
        let x = vector(columns, &random)
        let matrix = PackedMatrix(.numbers(format), rowCount: rowCount, columnCount: columns)
        matrix.setRows(from: 0, numbers: weights.span)
        #expect(
          bits(product(x, matrix, on: set))
            == bits(expected(x, weights, rowCount: rowCount, on: set)))
      }
    }
  }

  @Test("infinite and subnormal halves keep their values", arguments: InstructionSet.available)
  func specialHalves(set: InstructionSet) {
    let weights: [Float] = [0x1p-24, -0x1.8p-20, 65504, .infinity, -.infinity, 0, -0]
    let x = FloatMatrix(rowCount: 2, columnCount: 1)
    x.setRow(1, to: [1])
    for format in [FloatFormat.float16, .bfloat16] {
      let values = weights.map { $0.rounded(to: format) }
      let matrix = PackedMatrix(.numbers(format), rowCount: values.count, columnCount: 1)
      matrix.setRows(from: 0, numbers: values.span)
      #expect(
        bits(product(x, matrix, on: set))
          == bits(expected(x, values, rowCount: values.count, on: set)))
    }
  }

  @Test(
    "sub-blocks of K types (seed 313)", arguments: InstructionSet.available,
    [BlockType.q2_K, .q3_K, .q4_K, .q5_K, .q6_K])
  func subBlocks(set: InstructionSet, type: BlockType) throws {
    var random = Seeded(313)
    let groups = try #require(type.packedGroups)
    for rowCount in [1, 32, 38] {
      let columns = 2 * type.elementCount
      var blocks = (0..<rowCount * 2 * type.byteCount).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      // The steps are halves; their exponents are made small, so that weights are finite.
      for index in blocks.indices { blocks[index] &= 0x3f }
      var weights: [Float] = Array(repeating: 0, count: rowCount * columns)
      var target = weights.mutableSpan
      type.decode(blocks.span, into: &target, on: set)
      let parts = type.subBlocks(of: blocks.span, on: set)
      let x = vector(columns, &random)
      let matrix = PackedMatrix(.groups(groups), rowCount: rowCount, columnCount: columns)
      let isFinite = matrix.setRows(
        from: 0, codes: parts.codes.span, scales: parts.scales.span, offsets: parts.offsets.span)
      #expect(isFinite)
      #expect(
        bits(product(x, matrix, on: set))
          == bits(expected(x, weights, rowCount: rowCount, on: set)))
    }
  }

  /// Scales and offsets for which a sum in float32 is exact, or is not, or has a zero with a sign.
  @Test(
    "offsets of any size keep every bit (seed 315)", arguments: InstructionSet.available, [2, 4, 8])
  func offsets(set: InstructionSet, bits width: Int) throws {
    var random = Seeded(315 + UInt64(width))
    let numbers: [Float] = [
      0, -0, 0x1p-24, -0x1p-24, 0x1.ffcp-15, 1, -1, 0x1.554p3, -0x1.554p3, 0x1p11, 65504, -65504,
    ]
    let pairs = numbers.flatMap { scale in numbers.map { (scale: scale, offset: $0) } }
    for format in [FloatFormat.float16, .bfloat16] {
      let groups = try #require(
        PackedMatrix.Groups(bits: width, size: 32, .bias, parameters: format))
      let kernel = GroupKernel(groupSize: 32, bits: width, parameters: format)
      // Rows of a product share one pair, so that their sums can all be exact.
      for pair in pairs {
        let scales = Array(repeating: pair.scale.rounded(to: format), count: 64)
        let offsets = Array(repeating: pair.offset.rounded(to: format), count: 64)
        let codes = (0..<64 * 32).map { _ in
          UInt8.random(in: 0...UInt8((1 << width) - 1), using: &random)
        }
        var weights: [Float] = Array(repeating: 0, count: codes.count)
        var target = weights.mutableSpan
        kernel.decode(
          codes.span, scales: scales.span, biases: offsets.span, into: &target, on: set)
        let matrix = PackedMatrix(.groups(groups), rowCount: 64, columnCount: 32)
        let isFinite = matrix.setRows(
          from: 0, codes: codes.span, scales: scales.span, offsets: offsets.span)
        #expect(isFinite)
        let x = vector(32, &random)
        #expect(
          bits(product(x, matrix, on: set)) == bits(expected(x, weights, rowCount: 64, on: set)),
          "\(format) \(pair)")
      }
    }
  }

  @Test("rows are packed and multiplied in parts") func parts() {
    var random = Seeded(314)
    let weights = random.weights(76 * 5)
    let whole = PackedMatrix(.numbers(.float32), rowCount: 76, columnCount: 5)
    whole.setRows(from: 0, numbers: weights.span)
    let parted = PackedMatrix(.numbers(.float32), rowCount: 76, columnCount: 5)
    parted.setRows(from: 64, numbers: weights.span.extracting(64 * 5..<76 * 5))
    parted.setRows(from: 0, numbers: weights.span.extracting(0..<64 * 5))
    let x = vector(5, &random)
    #expect(
      bits(product(x, whole, on: .best)) == bits(product(x, parted, on: .best, blocks: 1)))
  }

  @Test("scales and offsets that are not finite are named") func nonFinite() {
    let groups = PackedMatrix.Groups(bits: 4, size: 8, .bias, parameters: .float16)
    for (scale, offset) in [(Float.infinity, Float(1)), (.nan, 1), (1, -.infinity), (65504, 1)] {
      let matrix = PackedMatrix(.groups(groups!), rowCount: 2, columnCount: 8)
      let isFinite = matrix.setRows(
        from: 0, codes: Array(repeating: 3, count: 16).span, scales: [1, scale].span,
        offsets: [1, offset].span)
      #expect(isFinite == (scale == 65504))
    }
  }

  @Test("groups that do not fill words are not packed") func unfitting() {
    #expect(PackedMatrix.Groups(bits: 4, size: 6, .bias, parameters: .float16) == nil)
    #expect(PackedMatrix.Groups(bits: 2, size: 24, .bias, parameters: .float16)?.packedBits == 4)
    #expect(PackedMatrix.Groups(bits: 3, size: 32, .bias, parameters: .float16)?.packedBits == 4)
    #expect(PackedMatrix.Groups(bits: 6, size: 4, .bias, parameters: .float16)?.packedBits == 8)
    #expect(PackedMatrix.Groups(bits: 8, size: 32, .bias, parameters: .float64) == nil)
  }
}

extension Float {
  fileprivate func rounded(to format: FloatFormat) -> Float {
    switch format {
    case .float16: Float(Float16(self))
    case .bfloat16: Float(bitPattern: bitPattern & 0xffff_0000)
    case .float32, .float64: self
    }
  }
}
