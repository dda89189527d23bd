package import TensorModel

extension FloatFormat {
  /// The format of a scalar type, which must be F16, BF16, F32 or F64.
  package init(_ type: ScalarType) {
    switch type {
    case .f16: self = .float16
    case .bf16: self = .bfloat16
    case .f32: self = .float32
    case .f64: self = .float64
    default: preconditionFailure("\(type.name) is not a floating-point format of the kernels")
    }
  }
}

extension BlockType {
  /// The block type of a layout; nil if Pleat cannot decode its blocks.
  package init?(_ layout: BlockLayout) {
    guard let type = Self.types[layout.name] else { return nil }
    self = type
  }

  // Texts of enumeration cases are slow to make, and planning asks for them for every tensor.
  private static let names = Dictionary(
    uniqueKeysWithValues: allCases.map { ($0, "\($0)".uppercased()) })
  private static let types = Dictionary(
    uniqueKeysWithValues: names.map { ($0.value, $0.key) })

  /// The name of the type in GGML, such as `Q4_K`.
  package var name: String { Self.names[self] ?? "\(self)".uppercased() }

  /// The encoding of a tensor of these blocks.
  package var encoding: Encoding {
    .foreign(BlockLayout(name: name, elementCount: elementCount, byteCount: byteCount))
  }
}
