package import TensorModel

/// A quantized weight as compressed-tensors or AWQ stores it, packed bit by bit or code by code.
package struct ToyWords: Sendable {
  /// The path of the layer.
  package var path: String
  /// The numbers of rows and columns.
  package let rows: Int, columns: Int
  /// The number of bits of a code.
  package let bits: Int
  /// The number of columns that share a scale.
  package let groupSize: Int
  /// The type of the scales.
  package let type: ScalarType
  /// Whether zero points are stored.
  package let hasZeros: Bool
  /// The codes, row-major.
  package var codes: [UInt8]
  /// The scale of each group, rounded to the type, of either sign.
  package var scales: [Float]
  /// The zero point of each group.
  package var zeros: [UInt8]

  /// Creates a weight with pseudo-random codes and parameters.
  package init(
    _ path: String, _ rows: Int, _ columns: Int, bits: Int = 4, groupSize: Int = 32,
    type: ScalarType = .f16, hasZeros: Bool = true, seed: UInt64
  ) {
    var random = Seeded(seed)
    (self.path, self.rows, self.columns, self.bits) = (path, rows, columns, bits)
    (self.groupSize, self.type, self.hasZeros) = (groupSize, type, hasZeros)
    let groups = rows * columns / groupSize
    codes = random.codes(rows * columns, bits: bits)
    // Values are kept away from zero, so that conversion to another of the types is exact.
    let values = random.weights(groups).map { $0 < 0 ? $0 - 0.01 : $0 + 0.01 }
    scales = Numbers.rounded(values, to: type)
    zeros = random.codes(groups, bits: bits)
    if !hasZeros { zeros = zeros.map { _ in UInt8(1 << (bits - 1)) } }
  }

  /// The number of groups in a row.
  package var groupCount: Int { columns / groupSize }

  /// The values of the weight: scale · (code − zero).
  package var values: [Float] {
    codes.indices.map { index in
      let group = index / columns * groupCount + index % columns / groupSize
      return scales[group] * (Float(codes[index]) - Float(zeros[group]))
    }
  }

  /// The encoding that a reader should find.
  package var grouping: Grouping {
    Grouping(
      bits: bits, groupSize: groupSize, offset: hasZeros ? .zeroPoint : .none, parameters: type)
  }

  /// The tensors of compressed-tensors.
  ///
  /// With `isOld`, codes are packed as in versions before 0.18: each word holds whole codes only.
  package func compressed(isOld: Bool = false) -> [Toy] {
    func words(_ numbers: [UInt8]) -> [UInt32] {
      var words = [UInt32](repeating: 0, count: wordCount(numbers.count, isOld: isOld))
      for (index, number) in numbers.enumerated() {
        for bit in 0..<bits where number >> UInt8(bit) & 1 == 1 {
          let perWord = 32 / bits
          let position =
            isOld ? index / perWord * 32 + index % perWord * bits + bit : index * bits + bit
          words[position / 32] |= 1 << UInt32(position % 32)
        }
      }
      return words
    }
    let packedRows = (0..<rows).map { words(Array(codes[$0 * columns..<($0 + 1) * columns])) }
    let columnsOfZeros = (0..<groupCount).map { group in
      words((0..<rows).map { zeros[$0 * groupCount + group] })
    }
    let height = wordCount(rows, isOld: isOld)
    let transposed = (0..<height).flatMap { row in columnsOfZeros.map { $0[row] } }
    var tensors = [
      Toy(
        "\(path).weight_packed", .i32, [rows, wordCount(columns, isOld: isOld)],
        bytes: packedRows.joined().flatMap { Numbers.little($0) }),
      Toy("\(path).weight_scale", type, [rows, groupCount], scales),
    ]
    if hasZeros {
      tensors.append(
        Toy(
          "\(path).weight_zero_point", .i32, [height, groupCount],
          bytes: transposed.flatMap { Numbers.little($0) }))
    }
    let extents = [rows, columns].flatMap { Numbers.little(UInt64($0)) }
    return tensors + [Toy("\(path).weight_shape", .i64, [2], bytes: extents)]
  }

  private func wordCount(_ count: Int, isOld: Bool) -> Int {
    isOld ? (count + 32 / bits - 1) / (32 / bits) : (count * bits + 31) / 32
  }

  /// The tensors of AWQ.
  package var awq: [Toy] {
    let order = [0, 2, 4, 6, 1, 3, 5, 7]
    func words(_ numbers: [UInt8]) -> [UInt8] {
      stride(from: 0, to: numbers.count, by: 8).flatMap { first in
        let word = order.indices.reduce(UInt32(0)) {
          $0 | UInt32(numbers[first + order[$1]]) << UInt32(4 * $1)
        }
        return Numbers.little(word)
      }
    }
    func down(_ numbers: [UInt8], _ width: Int) -> [UInt8] {
      (0..<width).flatMap { column in words((0..<rows).map { numbers[$0 * width + column] }) }
    }
    let transposed = (0..<groupCount).flatMap { group in
      (0..<rows).map { scales[$0 * groupCount + group] }
    }
    return [
      Toy("\(path).qweight", .i32, [columns, rows / 8], bytes: down(codes, columns)),
      Toy("\(path).qzeros", .i32, [groupCount, rows / 8], bytes: down(zeros, groupCount)),
      Toy("\(path).scales", type, [groupCount, rows], transposed),
    ]
  }
}
