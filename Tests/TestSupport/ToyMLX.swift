package import TensorModel

/// A quantized weight as MLX stores it, packed bit by bit.
package struct ToyMLX: Sendable {
  /// The path of the layer.
  package var path: String
  /// The extents of the weight, row-major.
  package let shape: [Int]
  /// The number of bits of a code.
  package let bits: Int
  /// The number of columns that share a scale and a bias.
  package let groupSize: Int
  /// The type of scales and biases.
  package let type: ScalarType
  /// The codes, row-major.
  package var codes: [UInt8]
  /// The scale of each group, rounded to the type, of either sign.
  package var scales: [Float]
  /// The bias of each group, rounded to the type.
  package var biases: [Float]

  /// Creates a weight with pseudo-random codes and parameters.
  package init(
    _ path: String, _ shape: [Int], bits: Int = 4, groupSize: Int = 32, type: ScalarType = .f16,
    seed: UInt64
  ) {
    var random = Seeded(seed)
    let count = shape.reduce(1, *)
    (self.path, self.shape, self.bits) = (path, shape, bits)
    (self.groupSize, self.type) = (groupSize, type)
    codes = random.codes(count, bits: bits)
    // Values are kept away from zero, so that conversion to another of the types is exact.
    func parameters() -> [Float] {
      let values = random.weights(count / groupSize).map { $0 < 0 ? $0 - 0.01 : $0 + 0.01 }
      return Numbers.rounded(values, to: type)
    }
    scales = parameters()
    biases = parameters()
  }

  private var columnCount: Int { shape[shape.count - 1] }

  private func extents(_ last: Int) -> [Int] { shape.dropLast() + [last] }

  /// The stored tensors `weight`, `scales` and `biases`.
  package var tensors: [Toy] {
    let groups = extents(columnCount / groupSize)
    return [
      Toy(
        "\(path).weight", .u32, extents(columnCount * bits / 32),
        bytes: Self.packed(codes, bits: bits)),
      Toy("\(path).scales", type, groups, scales), Toy("\(path).biases", type, groups, biases),
    ]
  }

  /// The values of the weight: scale · code + bias, with each step rounded to float32.
  package var values: [Float] {
    codes.indices.map { scales[$0 / groupSize] * Float(codes[$0]) + biases[$0 / groupSize] }
  }

  /// Packs codes as a bit stream, lowest bit first, into bytes that are filled from the lowest bit.
  package static func packed(_ codes: [UInt8], bits: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: codes.count * bits / 8)
    for bit in 0..<codes.count * bits where codes[bit / bits] >> UInt8(bit % bits) & 1 == 1 {
      bytes[bit / 8] |= 1 << UInt8(bit % 8)
    }
    return bytes
  }
}

extension Scratch {
  /// Writes a model folder with one file of tensors.
  ///
  /// - Parameters:
  ///   - tensors: The tensors, in the order of the file.
  ///   - config: The text of `config.json`; nil for none.
  ///   - name: The name of the folder.
  ///   - metadata: The metadata of the file.
  /// - Returns: The path of the folder.
  /// - Throws: Errors from writing.
  @discardableResult
  package func checkpoint(
    _ tensors: [Toy], config: String?, as name: String,
    metadata: [(String, String)] = [("format", "mlx")]
  ) throws -> String {
    try write(
      ToyFiles.safetensors(tensors, metadata: metadata),
      as: "\(name)/model.safetensors")
    if let config { try write(config, as: "\(name)/config.json") }
    return path(name)
  }
}
