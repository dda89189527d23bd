package import Kernels
package import TensorModel

/// A mix of llama.cpp: rules that give each tensor of a model one of several block types.
///
/// `MixChooser` applies the rules to a model.
package struct Mix: Sendable, Hashable {
  /// llama.cpp's name, such as `Q4_K_M`.
  package let name: String
  /// Its number in `general.file_type`.
  package let fileType: UInt32
  /// The type of all tensors to which no rule applies.
  package let base: BlockType
  /// Whether tensors of the base type need an entry of an importance matrix.
  package let needsMatrix: Bool
  /// The rules; the first that applies to a tensor decides.
  let rules: [MixRule]
  /// The type of `attn_output` in models with 8 experts, instead of its rules; nil for the base.
  let outputForEightExperts: BlockType?

  init(
    _ name: String, _ fileType: UInt32, _ base: BlockType, needsMatrix: Bool = false,
    outputForEightExperts: BlockType? = nil, _ rules: [MixRule] = []
  ) {
    self.name = name
    self.fileType = fileType
    self.base = base
    self.needsMatrix = needsMatrix
    self.outputForEightExperts = outputForEightExperts
    self.rules = rules
  }

  /// The mix with a name or an alias, in any case.
  ///
  /// Throws `unsupported` for a mix of types that Pleat does not write, and `usage`, with all known
  /// names, for an unknown name.
  package static func named(_ name: String) throws(ModelError) -> Mix {
    let wanted = name.uppercased()
    if let mix = all.first(where: { $0.name == aliases[wanted] ?? wanted }) { return mix }
    let names = all.map(\.name)
    if let other = unwritten.first(where: { $0.name == wanted }) {
      throw ModelError(
        .unsupported, "Pleat does not write the block types of \(other.name)",
        expected: names.choices, found: name, hint: "the nearest mix is \(other.nearest)")
    }
    throw ModelError(.usage, "unknown mix '\(name)'", expected: names.choices, found: name)
  }

  /// The mix with a number in `general.file_type`; nil if there is none.
  package static func withFileType(_ number: UInt32) -> Mix? {
    all.first { $0.fileType == number }
  }

  /// Whether it quantizes stacks of experts to its base type, and everything else to 8 bits.
  var isForExperts: Bool { base == .mxfp4 }

  /// Whether its base type has only the values -1, 0 and 1, times a scale.
  var isTernary: Bool { base == .tq1_0 || base == .tq2_0 }
}
