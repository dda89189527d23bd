internal import Bytes
internal import Kernels
package import TensorModel

/// The files of sentence-transformers for what a llama.cpp model states about pooling.
package struct SentenceDocuments {
  /// The files: names and contents.
  package private(set) var files: [(name: String, content: [UInt8])] = []
  /// Notes for the user.
  package private(set) var notes: [String] = []

  /// The key of the pooling, after the name of the architecture.
  static let poolingKey = "pooling_type"
  private static let types = "sentence_transformers.models."
  private static let denseKeys = DenseLayer.names.flatMap { ["\($0)_feat_in", "\($0)_feat_out"] }

  /// Whether a key, after the name of the architecture, states a size of a dense layer.
  static func isDenseSize(_ key: String) -> Bool { denseKeys.contains(key) }

  /// Whether files of sentence-transformers state this pooling; 0 stands for none.
  static func isKnown(_ pooling: MetadataValue) -> Bool {
    pooling.integer == 0 || self.pooling(pooling) != nil
  }

  private static func pooling(_ value: MetadataValue?) -> SentenceModules.Pooling? {
    value?.integer.flatMap { UInt32(exactly: $0) }.flatMap(SentenceModules.Pooling.init)
  }

  /// Makes the files; none without a pooling.
  ///
  /// - Parameters:
  ///   - metadata: The metadata of the model.
  ///   - tensors: Its tensors.
  ///   - numbers: Reads a tensor of plain numbers by its index.
  /// - Throws: `unsupported` for dense layers without a pooling, or in blocks; `malformed` without the
  ///   width of vectors, and what `numbers` throws.
  package init(
    _ metadata: Metadata, _ tensors: [TensorInfo],
    numbers: (Int) throws(ModelError) -> [Float]
  ) throws(ModelError) {
    let architecture = metadata["general.architecture"]?.text ?? ""
    let pooling = Self.pooling(metadata["\(architecture).\(Self.poolingKey)"])
    var kinds = ["Transformer"]
    for name in DenseLayer.names {
      let whole = name + CheckpointTranslation.weight
      guard let index = tensors.firstIndex(where: { $0.name == whole }) else { continue }
      guard pooling != nil else {
        throw ModelError(
          .unsupported, "a dense layer needs a pooled vector", tensor: whole,
          expected: "\(architecture).\(Self.poolingKey)", found: "no such key")
      }
      if kinds.count == 1 { kinds.append("Pooling") }
      files += try DenseLayer.files(
        in: Self.folder(kinds.count, "Dense"), of: tensors[index], numbers(index))
      kinds.append("Dense")
    }
    guard let pooling else { return }
    if kinds.count == 1 { kinds.append("Pooling") }
    guard let width = metadata["\(architecture).embedding_length"]?.integer else {
      throw ModelError(
        .malformed, "the metadata has no valid value for a required key",
        tensor: "\(architecture).embedding_length", expected: "a whole number above 0")
    }
    let modules = kinds.enumerated().map { index, kind -> JSONValue in
      [
        "idx": JSONValue(index), "name": .string("\(index)"),
        "path": .string(index == 0 ? "" : Self.folder(index, kind)),
        "type": .string(Self.types + kind),
      ]
    }
    files.append((SentenceModules.fileName, Self.bytes(.array(modules))))
    files.append((Self.folder(1, "Pooling") + "/config.json", Self.bytes(pooling.config(width))))
    notes.append(
      "the file does not say whether vectors are normalized: \(SentenceModules.fileName) has no "
        + "module for it")
  }

  private static func folder(_ index: Int, _ kind: String) -> String { "\(index)_\(kind)" }

  /// The text of a document.
  static func bytes(_ document: JSONValue) -> [UInt8] {
    Array((JSONWriter.text(document, indentation: 2) + "\n").utf8)
  }
}

extension SentenceModules.Pooling {
  /// The config of the module.
  fileprivate func config(_ width: Int) -> JSONValue {
    [
      "word_embedding_dimension": JSONValue(width),
      "pooling_mode_cls_token": .bool(self == .first),
      "pooling_mode_mean_tokens": .bool(self == .mean),
      "pooling_mode_lasttoken": .bool(self == .last),
    ]
  }
}

extension DenseLayer {
  /// The files of a layer in a folder, from the tensor of llama.cpp and its numbers.
  ///
  /// Throws `unsupported` for a tensor that is no matrix of plain numbers.
  fileprivate static func files(
    in folder: String, of tensor: TensorInfo, _ numbers: [Float]
  ) throws(ModelError) -> [(name: String, content: [UInt8])] {
    guard case .plain(let type) = tensor.encoding, types.contains(type), tensor.shape.rank == 2,
      numbers.count == tensor.shape.elementCount,
      let stored = StoredTensor(plain: weight, tensor.shape, type)
    else {
      throw ModelError(
        .unsupported, "sentence-transformers has no such dense layer", tensor: tensor.name,
        expected: "a matrix of F32, F16 or BF16", found: "\(tensor.shape)")
    }
    let config: JSONValue = [
      "in_features": JSONValue(tensor.shape.dimensions[1]),
      "out_features": JSONValue(tensor.shape.dimensions[0]), "bias": false,
      "activation_function": .string("torch.nn.modules.linear." + identity),
    ]
    let bytes = FloatFormat(type).encoded(numbers)
    return [
      ("\(folder)/config.json", SentenceDocuments.bytes(config)),
      (
        "\(folder)/model.safetensors",
        SafetensorsHeaderText([stored], [0], [.init("format", "pt")]).bytes + bytes
      ),
    ]
  }
}
