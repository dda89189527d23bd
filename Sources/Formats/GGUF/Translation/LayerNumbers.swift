internal import Architectures
internal import Bytes
internal import TensorModel

/// Numbers of each layer that are tensors in a checkpoint, and lists in the metadata of llama.cpp.
enum LayerNumbers {
  /// The lists for a checkpoint, one for each line of `layerNumbers`.
  ///
  /// `numbers` reads the numbers of a tensor by its index. Throws `malformed` for a tensor that is
  /// missing, is no number, or belongs to a layer that the model has not, and what `numbers` throws.
  static func metadata(
    of tensors: [TensorInfo], _ architecture: Architecture, layerCount: Int,
    _ numbers: (Int) throws(ModelError) -> [Float]
  ) throws(ModelError) -> Metadata {
    var found: [String: [Int: Float]] = [:]
    for (index, tensor) in tensors.enumerated() {
      guard let (layer, key) = architecture.layerNumber(ofHuggingFaceName: tensor.name) else {
        continue
      }
      guard tensor.shape.elementCount == 1, let number = try numbers(index).first else {
        throw ModelError(
          .malformed, "the tensor is not one number", tensor: tensor.name, expected: "one number",
          found: "\(tensor.shape)")
      }
      guard layer < layerCount, found[key]?[layer] == nil else {
        throw ModelError(
          .malformed, "the layer has the number already, or the model has no such layer",
          tensor: tensor.name, expected: "one tensor for each of \(layerCount) layers",
          found: "layer \(layer)")
      }
      found[key, default: [:]][layer] = number
    }
    var metadata = Metadata()
    for (stem, key, _) in architecture.layerNumbers {
      var bytes: [UInt8] = []
      for layer in 0..<layerCount {
        guard let number = found[key]?[layer] else {
          throw ModelError(
            .malformed, "the model lacks a number of its activation",
            tensor: architecture.layerName(layer, stem), expected: "one number for each layer",
            found: "\(found[key]?.count ?? 0) numbers for \(layerCount) layers")
        }
        bytes.append(littleEndian: number.bitPattern)
      }
      metadata.append(
        key, .array(MetadataArray(elementType: .f32, count: layerCount, bytes: bytes)))
    }
    return metadata
  }

  /// The tensors of a checkpoint for the lists in metadata.
  ///
  /// Throws `malformed` for a list that is missing or has not one number for each layer.
  static func tensors(
    of metadata: Metadata, _ architecture: Architecture, layerCount: Int
  ) throws(ModelError) -> [TensorAddition] {
    var additions: [TensorAddition] = []
    for (stem, key, rank) in architecture.layerNumbers {
      let value = metadata[key]
      // llama.cpp also reads one number for all layers.
      let bytes: [UInt8]
      switch value {
      case .array(let list) where list.elementType == .f32 && list.count == layerCount:
        bytes = list.bytes
      case .float(let number):
        var one: [UInt8] = []
        one.append(littleEndian: number.bitPattern)
        bytes = (0..<layerCount).flatMap { _ in one }
      default:
        throw ModelError(
          .malformed, "the metadata has no valid value for a required key", tensor: key,
          expected: "\(layerCount) numbers", found: value.map { "\($0)" } ?? "nothing")
      }
      for layer in 0..<layerCount {
        let name = architecture.layerName(layer, stem)
        guard let shape = Shape(validating: Array(repeating: 1, count: rank)),
          let stored = StoredTensor(plain: name, shape, .f32)
        else { continue }
        additions.append(
          TensorAddition(stored: stored, bytes: Array(bytes[4 * layer..<4 * layer + 4])))
      }
    }
    return additions
  }
}
