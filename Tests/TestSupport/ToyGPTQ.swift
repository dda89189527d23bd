package import TensorModel

/// A quantized weight as GPTQ stores it, packed bit by bit.
package struct ToyGPTQ: Sendable {
  /// The path of the layer.
  package var path: String
  /// The number of rows of the weight.
  package let outputs: Int
  /// The number of columns of the weight.
  package let inputs: Int
  /// The number of bits of a code.
  package let bits: Int
  /// The number of columns that share a scale and a zero point.
  package let groupSize: Int
  /// Whether zero points are stored minus one, as in the first version of the format.
  package var isFirstVersion: Bool
  /// The type of the scales.
  package let type: ScalarType
  /// The codes, row-major.
  package var codes: [UInt8]
  /// The scales, rows × groups, of either sign.
  package var scales: [Float]
  /// The zero points, rows × groups.
  package var zeros: [Int]
  /// The group of each column.
  package var groupIndex: [Int]
  /// Whether the group index is stored.
  package var hasIndex = true

  /// Creates a weight with pseudo-random codes and parameters.
  ///
  /// If it is symmetric, all zero points are the central code.
  package init(
    _ path: String, _ outputs: Int, _ inputs: Int, bits: Int = 4, groupSize: Int = 32,
    isFirstVersion: Bool = false, isSymmetric: Bool = false, type: ScalarType = .f16, seed: UInt64
  ) {
    var random = Seeded(seed)
    (self.path, self.outputs, self.inputs, self.bits) = (path, outputs, inputs, bits)
    (self.groupSize, self.type, self.isFirstVersion) = (groupSize, type, isFirstVersion)
    codes = random.codes(outputs * inputs, bits: bits)
    let groups = (inputs + groupSize - 1) / groupSize
    let values = random.weights(outputs * groups).map { $0 < 0 ? $0 - 0.01 : $0 + 0.01 }
    scales = Numbers.rounded(values, to: type)
    let points = random.codes(outputs * groups, bits: bits)
    zeros = points.map { isSymmetric ? 1 << (bits - 1) : max(1, Int($0)) }
    groupIndex = (0..<inputs).map { $0 / groupSize }
  }

  /// The number of groups in a row.
  package var groupCount: Int { (inputs + groupSize - 1) / groupSize }

  /// Assigns columns to groups at random; each group keeps its size.
  package mutating func scatter(seed: UInt64) {
    var random = Seeded(seed)
    groupIndex.shuffle(using: &random)
  }

  /// Subtracts 1 from each code of words of 32 bits, borrowing from the next one, as gptqmodel does.
  private static func subtractOnes(from words: inout [UInt8], bits: Int) {
    var ones: UInt32 = 0
    for place in 0..<32 / bits { ones |= 1 << UInt32(bits * place) }
    for start in stride(from: 0, to: words.count, by: 4) {
      let word = (0..<4).reduce(UInt32(0)) { $0 | UInt32(words[start + $1]) << UInt32(8 * $1) }
      for (place, byte) in Numbers.little(word &- ones).enumerated() {
        words[start + place] = byte
      }
    }
  }

  /// The stored tensors `qweight`, `qzeros`, `scales`, and `g_idx` if `hasIndex`.
  package var tensors: [Toy] {
    let isModulo = isFirstVersion && bits == 3
    let stored = zeros.map { UInt8(truncatingIfNeeded: isModulo ? ($0 + 7) & 7 : $0) }
    let down = Self.transposed(codes, columns: inputs)
    var bytes = [UInt8](repeating: 0, count: outputs * inputs * bits / 8)
    // Packs each column of `down` as a bit stream, whose words are one stripe apart.
    for column in 0..<outputs {
      for bit in 0..<inputs * bits
      where down[bit / bits * outputs + column] >> UInt8(bit % bits) & 1 == 1 {
        bytes[(bit / 32 * outputs + column) * 4 + bit % 32 / 8] |= 1 << UInt8(bit % 8)
      }
    }
    var words: [UInt8] = ToyMLX.packed(Self.transposed(stored, columns: groupCount), bits: bits)
    if isFirstVersion, !isModulo { Self.subtractOnes(from: &words, bits: bits) }
    let index = Toy(
      "\(path).g_idx", .i32, [inputs], bytes: groupIndex.flatMap { Numbers.little(Int32($0)) })
    return [
      Toy("\(path).qweight", .i32, [inputs * bits / 32, outputs], bytes: bytes),
      Toy("\(path).qzeros", .i32, [groupCount, outputs * bits / 32], bytes: words),
      Toy(
        "\(path).scales", type, [groupCount, outputs], Self.transposed(scales, columns: groupCount)),
    ] + (hasIndex ? [index] : [])
  }

  /// The values of the weight: scale · (code − zero), with the product rounded to float32.
  package var values: [Float] {
    codes.indices.map { index in
      let group = index / inputs * groupCount + groupIndex[index % inputs]
      return scales[group] * Float(Int(codes[index]) - zeros[group])
    }
  }

  private static func transposed<Number>(_ values: [Number], columns: Int) -> [Number] {
    let rows = values.count / columns
    return (0..<columns).flatMap { column in (0..<rows).map { values[$0 * columns + column] } }
  }

  /// A `config.json` of a model with such weights.
  package static func config(
    bits: Int = 4, groupSize: Int = 32, version: String? = "gptq_v2", sym: Bool? = false,
    _ more: String = ""
  ) -> String {
    let format = version.map { ",\"checkpoint_format\":\"\($0)\"" } ?? ""
    let symmetry = sym.map { ",\"sym\":\($0)" } ?? ""
    return "{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"gptq\","
      + "\"bits\":\(bits),\"group_size\":\(groupSize),\"desc_act\":false\(format)\(symmetry)"
      + "\(more)}}"
  }
}
