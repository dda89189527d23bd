internal import Architectures
package import Bytes
package import TensorModel

/// Factors of a config that the weights have already.
///
/// mlx-lm multiplies weights when it makes a folder, but leaves the factors in the config. It moves
/// convolutions at the same time, and knows by their form that nothing is left to multiply.
package enum MLXFactors {
  private static let (table, head) = ("embedding_multiplier", "lm_head_multiplier")

  /// A config of the same model that states factors of 1.
  ///
  /// The embeddings have their own factor even if they are the head. Then the factor of the head
  /// stays, divided by that of the embeddings.
  ///
  /// - Parameters:
  ///   - config: The config of the text model.
  ///   - tensors: The tensors of the model.
  /// - Returns: The config; nil if it is the one that is given, or if the weights do not have its
  ///   factors.
  package static func absorbed(_ config: JSONValue, in tensors: [TensorInfo]) -> JSONValue? {
    guard mayBeAbsorbed(in: tensors), areStated(by: config),
      let units = Architectures.forConfig(config)?.unitFactors
    else { return nil }
    var result = config.overridden(by: units)
    if !tensors.contains(where: { TensorNames.isTextHead($0.name) }) {
      let factors = [head, table].map { config[$0]?.double ?? 1 }
      result = result.setting(head, to: .number(factors[0] / factors[1]))
    }
    return result == config ? nil : result
  }

  /// Whether a config of a text model states factors that change weights.
  package static func areStated(by config: JSONValue) -> Bool {
    let units = Architectures.forConfig(config)?.unitFactors.members ?? []
    return units.contains { changes(config[$0.key], $0.value) }
  }

  /// Whether tensors have the form of a model with multiplied weights.
  package static func mayBeAbsorbed(in tensors: [TensorInfo]) -> Bool {
    tensors.contains(where: MLXNames.isMovedConvolution)
  }

  /// Whether a config states other factors than those that change nothing.
  private static func changes(_ stated: JSONValue?, _ unit: JSONValue) -> Bool {
    guard let stated else { return false }
    return stated.double != unit.double
      || stated.array?.map(\.double) != unit.array?.map(\.double)
  }
}
