package import TensorModel

extension FloatFormat {
  /// The format of a type that Pleat reads as numbers.
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
  /// The block type of a layout; nil when its blocks cannot be decoded here.
  package init?(_ layout: BlockLayout) {
    guard let type = Self.allCases.first(where: { $0.name == layout.name }) else { return nil }
    self = type
  }

  /// GGML's name of the type, such as `Q4_K`.
  package var name: String { "\(self)".uppercased() }
}
