# IMAGE: NVIDIA's with torch, nvcr.io/nvidia/pytorch:TAG
# The context is this folder, with the wheel of `tox -e dist` in it.
ARG IMAGE
FROM ${IMAGE}
COPY install.sh alignmeter-*.whl /opt/alignmeter/
RUN sh /opt/alignmeter/install.sh '[qlora]'
ENTRYPOINT ["alignmeter"]
