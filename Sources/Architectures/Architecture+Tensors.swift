package import Bytes
package import TensorModel

/// Which tensors the layers of a model have.
extension Architecture {
  /// The checkpoint names of the tensors that a model with so many layers and experts must have.
  ///
  /// The head is not one of them, because the embeddings may serve as the head.
  ///
  /// - Parameters:
  ///   - layerCount: The number of layers.
  ///   - expertCount: The number of experts in a layer that has experts.
  ///   - leadingCount: The number of first layers that have none, if the architecture has such layers.
  ///   - expertInterval: The distance of layers with experts.
  ///   - sharedCount: The number of experts that all tokens use; nil if it is not known.
  ///   - predictionCount: The number of layers after the last one, of `predictionNames`.
  ///   - isStacked: Whether the experts of a layer are stacks.
  ///   - layerKinds: The kind of each layer; empty if all layers are alike.
  ///   - varied: The sizes of layers that differ; nil if all have the same.
  /// - Returns: The names, with their endings.
  package func requiredNames(
    layerCount: Int, expertCount: Int, leadingCount: Int = 0, expertInterval: Int = 1,
    sharedCount: Int? = nil, predictionCount: Int = 0, isStacked: Bool = false,
    layerKinds: [LayerKind] = [], varied: VariedLayerSizes? = nil
  ) -> [String] {
    requiredPatterns(
      layerCount: layerCount, hasExperts: expertCount > 0, leadingCount: leadingCount,
      expertInterval: expertInterval, sharedCount: sharedCount, predictionCount: predictionCount,
      isStacked: isStacked, layerKinds: layerKinds, varied: varied
    ).flatMap { Self.expanded($0, expertCount: expertCount) }
  }

  /// Whether a name of `requiredPatterns` stands for the tensors of all experts of a layer.
  package static func isPattern(_ name: String) -> Bool { name.utf8.contains(UInt8(ascii: "*")) }

  /// The names of the tensors of all experts, from one with `*` for the number; other names alone.
  package static func expanded(_ name: String, expertCount: Int) -> [String] {
    guard isPattern(name) else { return [name] }
    let parts = name.split(separator: "*")
    return (0..<expertCount).map { parts.joined(separator: "\($0)") }
  }

  /// The same as `requiredNames`, with one name for all experts, which has `*` for their number.
  package func requiredPatterns(
    layerCount: Int, hasExperts: Bool, leadingCount: Int = 0, expertInterval: Int = 1,
    sharedCount: Int? = nil, predictionCount: Int = 0, isStacked: Bool = false,
    layerKinds: [LayerKind] = [], varied: VariedLayerSizes? = nil
  ) -> [String] {
    let head = CommonNames.head[0].huggingFace
    let numbered = numberedNames.flatMap { pair in
      (0..<VariedLayerSizes.updateCount - 1).map {
        pair.huggingFace.replacing("*", with: "\($0)")
      }
    }
    let outside = (modelNames.map(\.huggingFace).filter { $0 != head } + numbered)
      .map { $0 + ".weight" }
    let experts = hasExperts ? expertNames.map(\.huggingFace) : []
    func names(_ pairs: [NamePair], _ others: [String] = []) -> [String] {
      (pairs.map(\.huggingFace) + others).map { $0 + ".weight" }
    }
    let complete = (isStacked ? stackNames : []) + completeNames
    let numbers = layerNumbers.map(\.huggingFace)
    let used = laterNames.filter { !lacks($0, sharedCount: sharedCount) }
    // Experts may be in the layers of one kind only.
    let ofExperts = names([], isStacked ? [] : experts) + complete.map(\.huggingFace)
    let hasExpertKind = kindNames[.experts] != nil
    let later = names(used) + (hasExpertKind ? [] : ofExperts) + numbers
    let prediction = names(Array(predictionNames.prefix(3)))
    let ofKinds = kindNames.mapValues { names($0.names) + $0.completeNames.map(\.huggingFace) }
    let inside = (0..<layerCount + predictionCount).flatMap { layer in
      let kind = layer < layerKinds.count ? layerKinds[layer] : .attention
      let common = layerNames.filter { varied?.needs($0.huggingFace, layer: layer) ?? true }
      let isLeading =
        layer < leadingCount
        || layer < layerCount && !(layer + 1).isMultiple(of: expertInterval)
      return
        (names(common) + (ofKinds[kind] ?? [])
        + (hasExpertKind && kind == .experts ? ofExperts : [])
        + (isLeading ? names(leadingNames) : later)
        + (layer < layerCount ? [] : prediction)).map {
          "\(layerPath)\(layer).\($0)"
        }
    }
    return outside + inside
  }

  /// Whether a model with a config can have experts; false if the config says that it has none.
  package func mayHaveExperts(_ config: JSONValue) -> Bool {
    experts.map { $0.flag.map { config[$0] == true } ?? true } ?? false
  }

  /// Whether a tensor belongs to a layer that predicts several tokens, and llama.cpp has no place
  /// for it.
  package func leavesOut(_ name: String, layerCount: Int) -> Bool {
    guard leavesOutPredictionLayers, let layer = place(inLayers: name)?.layer else { return false }
    return Int(layer).map { $0 >= layerCount } ?? false
  }

  /// Whether a layer has a tensor, by its name in the tables.
  ///
  /// - Parameters:
  ///   - stem: The name.
  ///   - layer: The number of the layer.
  ///   - sizes: The sizes of the model.
  /// - Returns: Whether a model of these sizes can have the tensor.
  package func hasTensor(_ stem: String, layer: Int, _ sizes: ModelSizes) -> Bool {
    if predictionNames.contains(where: { $0.huggingFace == stem }) {
      return layer >= sizes.layerCount
    }
    let kind = sizes.kind(ofLayer: layer)
    let kinds = kindNames.keys.filter { kindNames[$0]?.contains(stem) ?? false }
    if !kinds.isEmpty, !kinds.contains(kind) { return false }
    if kindNames[.experts] != nil, kind != .experts {
      return !expertNames.contains { $0.huggingFace == stem }
        && !(stackNames + completeNames).contains { $0.huggingFace == stem }
    }
    if let varied = sizes.varied, !varied.has(stem, layer: layer) { return false }
    if sizes.experts == nil, let flag = experts?.flag, isOptional(stem, by: flag) { return false }
    let sharedCount = sizes.experts?.sharedCount
    if laterNames.contains(where: {
      $0.huggingFace == stem && lacks($0, sharedCount: sharedCount)
    }) {
      return false
    }
    if !sizes.isLeading(layer) { return !leadingNames.contains { $0.huggingFace == stem } }
    let complete = (completeNames + stackNames).map(\.huggingFace)
    return !complete.contains(stem)
      && !(laterNames + expertNames).contains { $0.huggingFace == stem }
  }

  /// Whether GGUF stores a norm as it is, though it stores others plus one.
  package func keepsNorm(_ ggufName: String) -> Bool {
    normsWithoutOne.contains { ggufName.hasSuffix(".\($0).weight") }
  }

  private func isOptional(_ stem: String, by key: String) -> Bool {
    optionalNames.contains { optional in
      optional.key == key
        && (optional.names.contains { $0.huggingFace == stem }
          || optional.completeNames.contains { $0.huggingFace == stem })
    }
  }

  /// The checkpoint names of the tensors that a model has by its config.
  package func optionalNames(in config: JSONValue, layerCount: Int) -> [String] {
    let stated = ConfigValues(config, self).config
    let found = optionalNames.filter { $0.areIn(stated) }
    let outside = found.flatMap(\.modelNames).map { $0.huggingFace + ".weight" }
    let inside = found.flatMap { optional in
      optional.names.map { $0.huggingFace + ".weight" }
        + optional.completeNames.map(\.huggingFace)
    }
    return outside
      + (0..<layerCount).flatMap { layer in inside.map { "\(layerPath)\(layer).\($0)" } }
  }

  /// The key of a config that says that a model lacks a tensor, by its name in the tables.
  ///
  /// Nil if no key says so.
  package func absenceKey(of stem: String, _ config: JSONValue) -> String? {
    let owners = optionalNames.filter { optional in
      (optional.names + optional.modelNames).contains { $0.huggingFace == stem }
        || optional.completeNames.contains { $0.huggingFace == stem }
    }
    guard let first = owners.first else { return nil }
    let stated = ConfigValues(config, self).config
    return owners.contains { $0.areIn(stated) } ? nil : first.key
  }

  /// Whether a model without experts that all tokens use lacks a tensor.
  ///
  /// llama.cpp needs such experts in most architectures.
  private func lacks(_ pair: NamePair, sharedCount: Int?) -> Bool {
    sharedCount == 0 && hyperparameters.contains(.sharedExpertCountIfAny)
      && pair.gguf.hasSuffix("_shexp")
  }

  /// The tensors that must have a bias, some by the keys of a config; by their names in llama.cpp.
  package func statedBiases(_ config: JSONValue) -> Set<String> {
    let keys = traits.biasKeys.filter { config[$0.key]?.bool == true }
    return keys.reduce(into: traits.requiredBiases) { $0.formUnion($1.tensors) }
  }

  /// The tensors that may have a bias in llama.cpp, by their names there.
  ///
  /// Transformers ignores biases that the config does not state.
  package func possibleBiases(_ config: JSONValue) -> Set<String> {
    let keyed = traits.biasKeys.reduce(into: Set<String>()) { $0.formUnion($1.tensors) }
    return traits.biases.subtracting(keyed).union(traits.biases.intersection(statedBiases(config)))
  }

  /// The checkpoint names of the biases of tensors, in all layers and outside of them.
  ///
  /// `layerKinds` are the kinds of the layers; empty if all are alike.
  package func biasNames(
    of tensors: Set<String>, layerCount: Int, layerKinds: [LayerKind] = []
  ) -> [String] {
    func stems(_ names: [NamePair]) -> [String] {
      names.filter { tensors.contains($0.gguf) }.map(\.huggingFace)
    }
    let outside = stems(modelNames).map { $0 + ".bias" }
    let inside = stems(layerNames)
    let ofKinds = kindNames.mapValues { stems($0.names) }
    return outside
      + (0..<layerCount).flatMap { layer in
        let kind = layer < layerKinds.count ? layerKinds[layer] : .attention
        return (inside + (ofKinds[kind] ?? [])).map { "\(layerPath)\(layer).\($0).bias" }
      }
  }

  /// A config without layers that predict several tokens at once, if the checkpoint has none.
  package func withoutMissingLayers(_ config: JSONValue, _ tensors: [TensorInfo]) -> JSONValue {
    let key = "num_nextn_predict_layers"
    let hasThem =
      !predictionNames.isEmpty
      && tensors.contains { tensor in
        guard let place = place(ofHuggingFaceName: tensor.name), place.layer != nil else {
          return false
        }
        return predictionNames.contains { $0.huggingFace == place.names.huggingFace }
      }
    guard hasThem else { return config.setting(key, to: 0) }
    // Not all configs state how many there are.
    guard predictionPrefix != nil, let layerCount = config["num_hidden_layers"]?.int,
      1...1024 ~= layerCount
    else { return config }
    let last = tensors.compactMap { place(inLayers: $0.name).flatMap { Int($0.layer) } }.max() ?? 0
    return config.setting(key, to: JSONValue(max(1, min(last, 1024) + 1 - layerCount)))
  }
}
