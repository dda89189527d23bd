package import Bytes
package import TensorModel

/// How `config.json`, or a file beside it, describes the quantization of a checkpoint.
package protocol ConfigDialect: Sendable {
  /// The codec of a model with this `config.json`; nil if the config is in another dialect.
  ///
  /// Throws `malformed` for a config of this dialect that contradicts itself or the tensors, and
  /// `unsupported` for a layout that Pleat does not read.
  func codec(
    for config: JSONValue, _ stored: StoredContents
  ) throws(ModelError) -> ConfiguredCodec?

  /// The keys of `config.json` that hold the description.
  var configurationKeys: [String] { get }

  /// The value of `configurationKeys` for a model with these tensors; nil if none is grouped.
  ///
  /// Throws `unsupported` for tensors that the dialect cannot describe.
  func description(of tensors: [TensorInfo]) throws(ModelError) -> JSONValue?

  /// The names of files beside `config.json` that contain the same description.
  var documentNames: [String] { get }

  /// A `config.json` with all keys that the runtime of the format needs.
  ///
  /// Throws `unsupported` and `malformed` for a model with these tensors that the runtime cannot
  /// load.
  func completed(
    _ config: JSONValue, for tensors: [TensorInfo]
  ) throws(ModelError) -> JSONValue
}

/// A codec that was chosen from the config of a model.
package struct ConfiguredCodec: Sendable {
  /// The codec.
  package var codec: any WeightCodec
  /// Notes for the user about the model.
  package var notes: [String] = []
}

extension ConfigDialect {
  package var documentNames: [String] { [] }

  package func completed(_ config: JSONValue, for tensors: [TensorInfo]) -> JSONValue { config }
}

extension ConfigDialect {
  /// A copy of a `config.json` with the description of another model's quantization.
  ///
  /// Every other description of a quantization is removed.
  ///
  /// - Parameters:
  ///   - config: The document; nil if the model has none.
  ///   - tensors: The tensors of the output.
  ///   - description: What `description(of:)` returned for them.
  ///   - format: The name of the format, for the error message.
  /// - Returns: The document to write.
  /// - Throws: `unsupported` if there is no document, and what `completed(_:for:)` throws.
  package func configuration(
    _ config: JSONValue?, for tensors: [TensorInfo], description: JSONValue?, of format: String
  ) throws(ModelError) -> JSONValue {
    guard case .object(let members)? = config else {
      throw ModelError(
        .unsupported, "\(format) needs a config.json, which the model lacks",
        expected: "a Hugging Face checkpoint, or a file made from one")
    }
    let others = members.filter { !QuantizationKeys.all.contains($0.key) }
    let completed = try completed(.object(others), for: tensors)
    let own = description.map { value in
      configurationKeys.map { JSONValue.Member($0, value) }
    }
    return .object((completed.members ?? []) + (own ?? []))
  }
}

/// The code width and the group size of a layer.
///
/// A config states the most common pair once, and lists the layers that differ from it.
struct LayerGroups: Hashable, Sendable {
  /// The width of a code in bits.
  var bits: Int
  /// The number of columns of a group; −1 for a whole row if the dialect writes rows this way.
  var size: Int
  /// How codes become numbers, as MLX names it.
  var mode = "affine"

  /// The most common pair; of equally common ones the one with fewer bits, then fewer columns.
  static func mostCommon(_ layers: some Sequence<LayerGroups>) -> LayerGroups? {
    var counts: [LayerGroups: Int] = [:]
    for groups in layers { counts[groups, default: 0] += 1 }
    // A tie is broken by value, so that the output does not depend on the order of a hash table.
    return counts.max {
      ($0.value, -$0.key.bits, -$0.key.size, $0.key.mode)
        < ($1.value, -$1.key.bits, -$1.key.size, $1.key.mode)
    }?.key
  }
}
