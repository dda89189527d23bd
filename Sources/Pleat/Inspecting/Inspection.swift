internal import Bytes
internal import Formats
internal import Kernels
public import TensorModel
public import Weights

/// A summary of a model from its headers.
public struct Inspection: Sendable {
  /// The model.
  public let model: Model
  /// The adapters that the model carries, or the adapter that the files hold.
  public let adapters: [AdapterSummary]
  /// Why an adapter cannot be read; nil if all can.
  public let adapterFault: ModelError?
  /// A summary for each encoding; the encoding with most weights comes first.
  public let encodings: [EncodingSummary]

  /// A summary of the tensors with one encoding.
  public struct EncodingSummary: Sendable, Hashable {
    /// The encoding.
    public var encoding: Encoding
    /// The number of tensors with this encoding.
    public var tensorCount: Int
    /// The number of their weights.
    public var elementCount: Int
    /// The bytes that they take in the files.
    public var byteCount: Int
  }

  /// Inspects a model without reading its weights.
  public init(_ model: Model) {
    self.model = model
    (adapters, adapterFault) = Self.adapters(of: model)
    var summaries: [Encoding: EncodingSummary] = [:]
    for (index, tensor) in model.catalog.tensors.enumerated() {
      let encoding = tensor.encoding.kind
      var summary =
        summaries[encoding]
        ?? EncodingSummary(encoding: encoding, tensorCount: 0, elementCount: 0, byteCount: 0)
      summary.tensorCount += 1
      summary.elementCount += tensor.shape.elementCount
      summary.byteCount += model.storedByteCount(of: index)
      summaries[encoding] = summary
    }
    encodings = summaries.values.sorted {
      ($1.elementCount, $0.encoding.description) < ($0.elementCount, $1.encoding.description)
    }
  }

  private static func adapters(of model: Model) -> ([AdapterSummary], ModelError?) {
    var summaries: [AdapterSummary] = []
    do throws(ModelError) {
      if model.isAdapter { summaries.append(AdapterSummary(try AdapterFile.open(model.path))) }
      for name in model.attachedNames {
        if let file = try AdapterFile(attached: name, in: model) {
          summaries.append(AdapterSummary(file))
        }
      }
    } catch {
      return (summaries, error)
    }
    return (summaries, nil)
  }

  /// An encoding as text, with the name that the format's own tools have for it.
  ///
  /// Such as `Q4_1 (4-bit, groups of 32, F16 scale and bias)` in a GGUF file.
  public func description(of encoding: Encoding) -> String {
    guard let name = typeName(of: encoding) else { return encoding.description }
    return "\(name) (\(encoding))"
  }

  /// The name that the format's own tools have for groups, such as `Q4_1`; nil if they have none.
  func typeName(of encoding: Encoding) -> String? {
    guard case .grouped(let grouping) = encoding else { return nil }
    return model.format.codec.typeName(of: grouping)
  }

  /// llama.cpp's name for the types of the tensors, such as `Q4_K_M`; nil if none is stated.
  ///
  /// The metadata may state a mix although tensors were changed later.
  public var mixName: String? {
    guard encodings.contains(where: { if case .plain = $0.encoding { false } else { true } }) else {
      return nil
    }
    let number = model.catalog.metadata[GGUFFileType.key]?.integer.flatMap(UInt32.init(exactly:))
    return number.flatMap(GGUFFileType.name) ?? MixRecord(model.history)?.mix.name
  }

  /// The bits per weight, over all tensors.
  public var bitsPerWeight: Double {
    let count = model.catalog.elementCount
    return count == 0 ? 0 : Double(model.tensorByteCount) * 8 / Double(count)
  }

  /// The architecture that metadata or `config.json` names; nil if neither does.
  public var architecture: String? {
    if let name = model.catalog.metadata["general.architecture"]?.text { return name }
    return (try? model.configuration())?["model_type"]?.string
  }
}

extension Encoding {
  /// The encoding without numbers that each tensor has for itself.
  fileprivate var kind: Encoding {
    guard case .scaled(var codes) = self else { return self }
    codes.nesting?.offset = 0
    return .scaled(codes)
  }
}
