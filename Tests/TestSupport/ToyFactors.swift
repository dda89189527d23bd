package import TensorModel

/// The two factors of a LoRA adapter for one weight: lora_B · lora_A.
package struct ToyFactors: Sendable {
  /// The path of the layer.
  package var path: String
  /// The number of rows of the weight.
  package let height: Int
  /// The number of columns of the weight, or of groups of columns.
  package let width: Int
  /// The rank of the product.
  package let rank: Int
  /// lora_A: rank × width.
  package var a: [Float]
  /// lora_B: height × rank.
  package var b: [Float]

  /// Creates pseudo-random factors, whose products are around `scale`.
  package init(
    _ path: String, _ height: Int, _ width: Int, rank: Int = 2, scale: Float = 0.1, seed: UInt64
  ) {
    var random = Seeded(seed)
    (self.path, self.height, self.width, self.rank) = (path, height, width, rank)
    a = random.weights(rank * width)
    b = random.weights(height * rank, scale: scale)
  }

  /// The same factors with a lora_B of zeros.
  package var withoutEffect: ToyFactors {
    var factors = self
    factors.b = factors.b.map { _ in 0 }
    return factors
  }

  /// The tensors under their PEFT names, in F32.
  package var tensors: [Toy] {
    [
      Toy("base_model.model.\(path).lora_A.weight", .f32, [rank, width], a),
      Toy("base_model.model.\(path).lora_B.weight", .f32, [height, rank], b),
    ]
  }

  /// An element of the product in double, and the sum of the magnitudes of its terms.
  package func element(_ row: Int, _ column: Int) -> (value: Double, size: Double) {
    let products = (0..<rank).map { Double(b[row * rank + $0]) * Double(a[$0 * width + column]) }
    return (products.reduce(0, +), products.reduce(0) { $0 + $1.magnitude })
  }

  /// An element of the product in float32: products are rounded, and added in order.
  package func float(_ row: Int, _ column: Int) -> Float {
    var sum = Float(0)
    for k in 0..<rank { sum += b[row * rank + k] * a[k * width + column] }
    return sum
  }
}

extension Scratch {
  /// Writes an adapter folder of PEFT with rank 2 and alpha 6, hence scale 3.
  ///
  /// - Parameters:
  ///   - tensors: The tensors of the adapter.
  ///   - config: Further members of the config, as JSON without braces.
  ///   - name: The name of the folder.
  /// - Returns: The path of the folder.
  /// - Throws: Errors from writing.
  @discardableResult
  package func peft(_ tensors: [Toy], _ config: String = "", as name: String) throws -> String {
    let members = ["\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":6", config]
    try write(
      "{\(members.filter { !$0.isEmpty }.joined(separator: ","))}",
      as: "\(name)/adapter_config.json")
    try write(ToyFiles.safetensors(tensors), as: "\(name)/adapter_model.safetensors")
    return path(name)
  }
}

extension ScalarType {
  /// Half the distance between numbers of F16, BF16, F32 or F64 near a value.
  package func halfStep(at value: Double) -> Double {
    let (least, digits) =
      switch self {
      case .f16: (-14, 10)
      case .bf16: (-126, 7)
      case .f32: (-126, 23)
      default: (-1022, 52)
      }
    let exponent = value == 0 ? least : max(least, Int(value.exponent))
    return Double(sign: .plus, exponent: exponent - digits - 1, significand: 1)
  }
}
