package import TensorModel

/// A weight in groups as GPTQ stores it, packed the plainest way: bit by bit.
package struct ToyGPTQ: Sendable {
  /// The path of the layer.
  package var path: String
  /// Rows of the weight.
  package let outputs: Int
  /// Columns of the weight.
  package let inputs: Int
  /// Bits of a code.
  package let bits: Int
  /// Columns that share a scale and a zero point.
  package let groupSize: Int
  /// Whether zero points are stored less one.
  package var isFirstVersion: Bool
  /// The type of the scales.
  package let type: ScalarType
  /// A code for each weight, row by row.
  package var codes: [UInt8]
  /// For each row the scales of its groups, of either sign.
  package var scales: [Float]
  /// For each row the zero points of its groups.
  package var zeros: [Int]
  /// For each column its group.
  package var groupIndex: [Int]
  /// Whether the index of groups is stored.
  package var hasIndex = true

  /// A weight with codes and parameters that look random; zero points are all the central code
  /// where it is symmetric.
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

  /// The groups of a row.
  package var groupCount: Int { (inputs + groupSize - 1) / groupSize }

  /// Puts columns into groups at random, each of which keeps its size.
  package mutating func scatter(seed: UInt64) {
    var random = Seeded(seed)
    groupIndex.shuffle(using: &random)
  }

  /// `qweight`, `qzeros`, `scales`, and `g_idx`.
  package var tensors: [Toy] {
    let stored = zeros.map { UInt8(truncatingIfNeeded: $0 - (isFirstVersion ? 1 : 0)) }
    let down = Self.turned(codes, columns: inputs)
    var bytes = [UInt8](repeating: 0, count: outputs * inputs * bits / 8)
    // The stream of a column of `down`, whose words are a line apart.
    for column in 0..<outputs {
      for bit in 0..<inputs * bits
      where down[bit / bits * outputs + column] >> UInt8(bit % bits) & 1 == 1 {
        bytes[(bit / 32 * outputs + column) * 4 + bit % 32 / 8] |= 1 << UInt8(bit % 8)
      }
    }
    let words: [UInt8] = ToyMLX.packed(Self.turned(stored, columns: groupCount), bits: bits)
    let index = Toy(
      "\(path).g_idx", .i32, [inputs], bytes: groupIndex.flatMap { Numbers.little(Int32($0)) })
    return [
      Toy("\(path).qweight", .i32, [inputs * bits / 32, outputs], bytes: bytes),
      Toy("\(path).qzeros", .i32, [groupCount, outputs * bits / 32], bytes: words),
      Toy("\(path).scales", type, [groupCount, outputs], Self.turned(scales, columns: groupCount)),
    ] + (hasIndex ? [index] : [])
  }

  /// What the weight is: scale · (code − zero), the product rounded to a float.
  package var values: [Float] {
    codes.indices.map { place in
      let group = place / inputs * groupCount + groupIndex[place % inputs]
      return scales[group] * Float(Int(codes[place]) - zeros[group])
    }
  }

  private static func turned<Number>(_ values: [Number], columns: Int) -> [Number] {
    let rows = values.count / columns
    return (0..<columns).flatMap { column in (0..<rows).map { values[$0 * columns + column] } }
  }

  /// A config of one.
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
