// Loads a SavedModel as TF Serving does and runs every signature of it.
//
//   load_saved_model MODEL REQUESTS
//
// Input X of signature S is read from REQUESTS/S/X: a line with the dimensions, then the elements, little-endian; of
// strings, each as its length in 8 bytes and its bytes. Without such a file the input is zeros (empty strings), unknown
// dimensions being 1. Writes one line per output: signature, output, number of dimensions, dimensions, values.

#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"

using tensorflow::Tensor;
using tensorflow::TensorShape;

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "error: %s\n", what.c_str());
  std::exit(1);
}

void Check(const tensorflow::Status& status, const std::string& what) {
  if (!status.ok()) Fail(what + ": " + status.ToString());
}

Tensor ReadInput(const std::string& path, const tensorflow::TensorInfo& info) {
  std::ifstream file(path, std::ios::binary);
  TensorShape shape;
  if (file) {
    std::string line;
    std::getline(file, line);
    std::istringstream dimensions(line);
    for (int64_t size; dimensions >> size;) shape.AddDim(size);
  } else {
    for (const auto& dim : info.tensor_shape().dim()) shape.AddDim(dim.size() < 0 ? 1 : dim.size());
  }
  Tensor tensor(info.dtype(), shape);
  if (info.dtype() == tensorflow::DT_STRING) {
    auto values = tensor.flat<tensorflow::tstring>();
    for (int64_t i = 0; file && i < values.size(); ++i) {
      uint64_t length = 0;
      file.read(reinterpret_cast<char*>(&length), sizeof length);
      std::string bytes(file ? length : 0, '\0');
      file.read(&bytes[0], bytes.size());
      if (!file) Fail(path + " is too short");
      values(i) = bytes;
    }
    return tensor;
  }
  char* data = const_cast<char*>(tensor.tensor_data().data());
  std::memset(data, 0, tensor.tensor_data().size());
  if (file && !file.read(data, tensor.tensor_data().size())) Fail(path + " is too short");
  return tensor;
}

void WriteOutput(const std::string& signature, const std::string& name, const Tensor& tensor) {
  if (tensor.dtype() != tensorflow::DT_FLOAT) Fail(signature + " " + name + " is not float32");
  std::printf("%s %s %d", signature.c_str(), name.c_str(), tensor.dims());
  for (int i = 0; i < tensor.dims(); ++i) std::printf(" %lld", static_cast<long long>(tensor.dim_size(i)));
  const auto values = tensor.flat<float>();
  for (int64_t i = 0; i < values.size(); ++i) std::printf(" %.9g", values(i));
  std::printf("\n");
}

int main(int argc, char** argv) {
  if (argc != 3) Fail("usage: load_saved_model MODEL REQUESTS");
  const std::string model = argv[1], requests = argv[2];
  tensorflow::SavedModelBundleLite bundle;
  Check(tensorflow::LoadSavedModel({}, {}, model, {"serve"}, &bundle), "loading " + model);
  for (const auto& [signature, definition] : bundle.GetSignatures()) {
    if (signature.rfind("__saved_model", 0) == 0) continue;  // the loader's own entries
    std::vector<std::pair<std::string, Tensor>> inputs;
    for (const auto& [name, info] : definition.inputs())
      inputs.emplace_back(info.name(), ReadInput(requests + "/" + signature + "/" + name, info));
    std::vector<std::string> names, tensors;
    for (const auto& [name, info] : definition.outputs()) {
      names.push_back(name);
      tensors.push_back(info.name());
    }
    std::vector<Tensor> outputs;
    Check(bundle.GetSession()->Run(inputs, tensors, {}, &outputs), "running " + signature);
    for (size_t i = 0; i < names.size(); ++i) WriteOutput(signature, names[i], outputs[i]);
  }
}
