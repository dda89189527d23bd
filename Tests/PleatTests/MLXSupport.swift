import Bytes
import Formats
import Pleat
import TestSupport

/// MLX models in a scratch folder.
extension Folder {
  /// A `config.json` with unsorted keys, several kinds of numbers, and escaped text.
  static let config = """
    {
      "vocab_size": 7,
      "model_type": "llama",
      "rms_norm_eps": 1e-05,
      "rope_theta": 10000.0,
      "architectures": [
        "LlamaForCausalLM"
      ],
      "name": "ü \\" \\\\ \\n",
      "pad_token_id": null,
      "tie_word_embeddings": false
    }

    """

  /// A model folder of plain tensors, with the config above by default.
  func checkpoint(
    _ tensors: [Toy], config: String? = config, as name: String = "source",
    metadata: [(String, String)] = [("format", "mlx")]
  ) throws -> Model {
    try Model.open(
      try scratch.checkpoint(tensors, config: config, as: name, metadata: metadata))
  }

  /// An MLX folder with groups of 32 and 4 bits.
  func mlx(_ weights: [ToyMLX], _ more: [Toy] = [], as name: String = "base") throws -> Model {
    let config =
      #"{"quantization":{"group_size":32,"bits":4},"model_type":"llama","eos":[1,2]}"#
    return try Model.open(
      try scratch.checkpoint(weights.flatMap(\.tensors) + more, config: config, as: name))
  }

  /// Converts a model and opens the output.
  func rewrite(
    _ model: Model, to name: String, _ format: Format = .mlx, decodingTo type: ScalarType? = nil,
    compresses: Bool = false
  ) throws(ModelError) -> Model {
    let destination = Destination(
      path: scratch.path(name), format: format, compresses: compresses)
    try Run(try Plan.converting(model, decodingTo: type, to: destination))()
    return try Model.open(destination.path)
  }

  /// The parsed `config.json` of a folder.
  func document(_ name: String) throws -> JSONValue {
    try JSONParser.parse(try scratch.bytes(of: "\(name)/config.json"), file: "config.json")
  }

  /// The keys of the `config.json` of a folder, in order.
  func keys(_ name: String) throws -> [String] {
    (try document(name).members ?? []).map(\.key)
  }

  /// The bytes of every file of a folder.
  func files(_ name: String) throws -> [String: [UInt8]] {
    var files: [String: [UInt8]] = [:]
    for file in try scratch.names(in: name) {
      files[file] = try scratch.bytes(of: "\(name)/\(file)")
    }
    return files
  }
}

extension Model {
  /// The types of all plain tensors, scales and biases.
  var numberTypes: Set<String> {
    Set(
      catalog.tensors.map { tensor in
        if case .grouped(let grouping) = tensor.encoding { return grouping.parameters.name }
        return tensor.encoding.description
      })
  }
}
