internal import Adapters
internal import Bytes
internal import Formats
internal import TensorModel

extension Model {
  /// The tensors with the names that adapters of either world may have for them.
  ///
  /// Throws `malformed` for heads that cannot be, and what reading `config.json` throws.
  func baseTensors() throws(ModelError) -> [BaseTensor] {
    let plain = catalog.tensors.enumerated().map { BaseTensor(index: $0.offset, info: $0.element) }
    if let name = catalog.metadata["general.architecture"]?.text {
      guard let architecture = Architectures.named(name) else { return plain }
      return try named(plain, architecture, heads: AttentionHeads(catalog.metadata, name))
    }
    guard let config = try configuration(), let type = config["model_type"]?.string,
      let architecture = Architectures.forModelType(type)
    else { return plain }
    return try named(plain, architecture, heads: AttentionHeads(config["text_config"] ?? config))
  }

  /// Whether stacks of experts are stored with the inputs of each as rows.
  func hasTransposedExperts() throws(ModelError) -> Bool {
    let types = ["gpt_oss", "aria", "aria_text", "openai_privacy_filter"]
    return try configuration()?["model_type"]?.string.map(types.contains) ?? false
  }

  /// llama.cpp's name of the architecture; nil when neither metadata nor `config.json` tells.
  func ggufArchitecture() throws(ModelError) -> String? {
    if let name = catalog.metadata["general.architecture"]?.text { return name }
    let type = try configuration()?["model_type"]?.string
    return type.flatMap { Architectures.forModelType($0)?.ggufName }
  }

  /// The document of `config.json`; nil without one.
  func configuration() throws(ModelError) -> JSONValue? { try document(named: "config.json") }

  /// The document of a companion file; nil without one.
  func document(named name: String) throws(ModelError) -> JSONValue? {
    guard let bytes = try companion(named: name) else { return nil }
    return try JSONParser.parse(bytes, file: name)
  }

  private func named(
    _ tensors: [BaseTensor], _ architecture: Architecture, heads: AttentionHeads?
  ) throws(ModelError) -> [BaseTensor] {
    let isGGUF = catalog.metadata["general.architecture"] != nil
    var result: [BaseTensor] = []
    result.reserveCapacity(tensors.count)
    for tensor in tensors {
      var tensor = tensor
      let name = tensor.info.name
      let alias = isGGUF ? architecture.huggingFaceName(of: name) : architecture.ggufName(of: name)
      if let alias {
        // Without the heads a name of queries or keys would promise an order that is not known.
        let order =
          try architecture.rowOrder(
            ofHuggingFaceName: isGGUF ? alias : name, headCount: heads?.queryCount ?? 1,
            keyValueHeadCount: heads?.keyValueCount ?? 1, headSize: heads?.size ?? 2)
        let rows =
          tensor.info.shape.rank == 1
          ? tensor.info.shape.elementCount : tensor.info.shape.rowCount
        if order == nil || heads != nil && order?.rowCount == rows {
          tensor.alias = alias
          tensor.aliasRows = order.map { RowMap($0, fromInterleaved: isGGUF) }
          if architecture.addsOneToNorms, alias.contains("norm") {
            tensor.aliasDifference = "llama.cpp adds 1 to the weights of norms"
          }
        }
      }
      result.append(tensor)
    }
    return result
  }
}
